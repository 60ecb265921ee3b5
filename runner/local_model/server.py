"""Serve the local model on a Unix socket until nobody has used it for a while. Runs on: host.

Started by `runner.local_model.lease` as a process of its own, shared by all runs of the user.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.contract.outcome import ExitCode
from runner.local_model.locks import locked, open_lock, try_lock, unlock
from runner.local_model.manifest import MODELS
from runner.local_model.server_files import ServerFiles, ServerRecord, write_record

if TYPE_CHECKING:
    import xllamacpp

CONTEXT_TOKENS = 16384
"""Shared by the slots: one long prompt may take what the others leave."""
SLOTS = 3
MAX_ANSWER_TOKENS = 4096
"""Where a request sets no limit: a small model may not find its end."""
POLL_SECONDS = 2.0
TAKEN_SECONDS = 2.0
WARNINGS_ONLY = 2


def parameters(weights: Path, socket: Path) -> "xllamacpp.CommonParams":
    """Return how the model is served: all cores, three answers side by side, no web page."""
    import xllamacpp

    threads = len(os.sched_getaffinity(0))
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {MODELS[0]}
    params.hostnames = [str(socket)]
    params.port = 1  # not used for a socket; 0 would ask for one
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = SLOTS
    params.kv_unified = True
    params.n_predict = MAX_ANSWER_TOKENS
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 0  # prompts of ended slots: gigabytes for little
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = WARNINGS_ONLY  # the rest would log what the runs ask
    return params


def wait_until_idle(lease: Path, idle_seconds: float, poll_seconds: float = POLL_SECONDS) -> int:
    """Return once nobody has held the lease for `idle_seconds`, with the lease then held.

    Whoever asks for the lease from then on waits for the end of this process. Returns also when
    the lease file is gone: then nobody can find this server any more.
    """
    descriptor = open_lock(lease)
    unused_since = time.monotonic()
    while os.fstat(descriptor).st_nlink:
        if not try_lock(descriptor):
            unused_since = time.monotonic()
        elif time.monotonic() - unused_since >= idle_seconds:
            return descriptor
        else:
            unlock(descriptor)
        time.sleep(min(poll_seconds, max(idle_seconds, 0.05)))
    return descriptor


def serve(files: ServerFiles, weights: Path, idle_seconds: float) -> ExitCode:
    """Serve until idle; 0 as well where another server is there already."""
    import xllamacpp

    with locked(files.server_lock, _brief_patience()) as lock:
        files.socket.unlink(missing_ok=True)
        write_record(lock, ServerRecord(pid=os.getpid(), state="loading"))
        server = xllamacpp.Server(parameters(weights, files.socket))
        write_record(lock, ServerRecord(pid=os.getpid(), state="ready"))
        print(f"serving on {server.listening_address}", flush=True)
        wait_until_idle(files.lease, idle_seconds)
        files.socket.unlink(missing_ok=True)
        print("idle: stopping", flush=True)
        # The locks are held to the very end, so that the next server finds the place free.
        os._exit(ExitCode.SUCCESS)


class _AnotherServerError(Exception):
    """The place is taken."""


def _brief_patience() -> Callable[[], None]:
    # Whoever looks whether a server lives holds the lock for an instant.
    deadline = time.monotonic() + TAKEN_SECONDS

    def wait() -> None:
        if time.monotonic() > deadline:
            raise _AnotherServerError

    return wait


def main(arguments: Sequence[str]) -> ExitCode:
    """Serve as the command line says; the reason of a failure is in the log."""
    parser = argparse.ArgumentParser(prog="python -m runner.local_model.server")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--idle-seconds", type=float, required=True)
    options = parser.parse_args(arguments)
    os.chdir("/")  # it outlives its starter, and must not keep a directory busy
    try:
        return serve(ServerFiles(options.directory), options.weights, options.idle_seconds)
    except _AnotherServerError:
        return ExitCode.SUCCESS
    except RuntimeError as error:  # llama.cpp's: the weights cannot be loaded
        print(f"error: {error}", file=sys.stderr)
        return ExitCode.EXECUTION


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
