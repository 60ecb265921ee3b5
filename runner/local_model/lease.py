"""Use the local model: `with local_model(report) as endpoint`. Runs on: host.

The weights are downloaded and the server is started where they are missing. A run holds its lease
as a file lock, which the kernel lets go however the run ends; the server stops when it has been
without one for a while.
"""

import asyncio
import importlib.util
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, NamedTuple

from runner.contract.text import one_line
from runner.detached import Detached
from runner.errors import ConfigurationError
from runner.local_model.locks import is_locked, locked
from runner.local_model.manifest import load_manifest
from runner.local_model.places import models_directory, server_directory
from runner.local_model.progress import Progress, Report, silent
from runner.local_model.server_files import ServerFiles, living_server
from runner.local_model.weights import ensure_weights

IDLE_VARIABLE = "MASSGEN_LOCAL_MODEL_IDLE_SECONDS"
DEFAULT_IDLE_SECONDS = 300.0
LOAD_SECONDS = 300.0
"""From a cold disk on a busy machine; 4 s are usual."""
HUNG_SECONDS = 20.0
"""A server that is ready answers a health request in milliseconds, whatever its models do."""
SERVER_VARIABLES = (
    "PATH", "HOME", "LANG", "LC_", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHON", "LD_LIBRARY_PATH",
    "GGML_", "OMP_", "COVERAGE_",
)  # fmt: skip
"""Beginnings of the environment variables that the server gets."""
STOP_SECONDS = 5.0
POLL_SECONDS = 0.1
LOG_TAIL_BYTES = 4096


class Endpoint(NamedTuple):
    """Where the local model answers, in the OpenAI dialect, while the lease is held."""

    base_url: str
    """`http+unix://<quoted path of the socket>/v1`."""
    api_key: str | None
    """None: only the user can reach the socket."""
    model: str


class ServerStart(NamedTuple):
    """How a server is started where none answers."""

    weights: Path
    idle_seconds: float
    environment: Mapping[str, str]
    python: str = sys.executable


@contextmanager
def local_model(
    report: Report = silent, environment: Mapping[str, str] = os.environ
) -> Iterator[Endpoint]:
    """Yield a model that answers, for as long as the block lasts.

    Raises ConfigurationError that says what is missing and the remedy. What `report` raises ends
    the preparation.
    """
    require_llama()
    idle_seconds = idle_seconds_of(environment)
    manifest = load_manifest()
    weights = ensure_weights(manifest, models_directory(environment), report, environment)
    files = ServerFiles(server_directory(environment))
    start = ServerStart(weights, idle_seconds, environment)
    with locked(files.lease, _say(report, "an idle server is ending"), shared=True):
        starting = "another run is starting the local model"
        with locked(files.start_lock, _say(report, starting)):
            ensure_server(files, start, report)
        yield Endpoint(files.base_url, None, manifest.name)


class _CancelledPreparationError(Exception):
    """Raised through the preparation in its thread, to end it."""


@asynccontextmanager
async def async_local_model(
    report: Report = silent, environment: Mapping[str, str] = os.environ
) -> AsyncIterator[Endpoint]:
    """Yield like `local_model` without blocking the loop; `report` is called in a thread.

    Cancelling the task ends the preparation too.
    """
    cancelled = threading.Event()

    def report_unless_cancelled(progress: Progress) -> None:
        if cancelled.is_set():
            raise _CancelledPreparationError
        report(progress)

    lease = local_model(report_unless_cancelled, environment)
    entering = asyncio.ensure_future(asyncio.to_thread(lease.__enter__))
    try:
        endpoint = await asyncio.shield(entering)
    except asyncio.CancelledError:
        cancelled.set()
        with suppress(_CancelledPreparationError, ConfigurationError):
            await entering
            lease.__exit__(None, None, None)
        raise
    with _closing(lease.__exit__):
        yield endpoint


@contextmanager
def _closing(leave: Callable[[None, None, None], object]) -> Iterator[None]:
    try:
        yield
    finally:
        leave(None, None, None)


def stop_server(environment: Mapping[str, str] = os.environ) -> bool:
    """End the user's server, in use or not; tell whether there was one."""
    files = ServerFiles(server_directory(environment))
    with locked(files.start_lock, _say(silent, "")):
        if living_server(files) is None:
            return False
        _end(files)
        return True


def is_llama_installed() -> bool:
    """Tell whether the extra `local` is installed."""
    return importlib.util.find_spec("xllamacpp") is not None


def require_llama() -> None:
    """Raise ConfigurationError with the remedy where the extra `local` is not installed."""
    if not is_llama_installed():
        raise ConfigurationError(
            "local model: llama.cpp is not installed: pip install 'massgen-runner[local]'"
        )


def idle_seconds_of(environment: Mapping[str, str]) -> float:
    text = environment.get(IDLE_VARIABLE)
    if not text:
        return DEFAULT_IDLE_SECONDS
    with suppress(ValueError):
        if 0 <= (seconds := float(text)) < float("inf"):
            return seconds
    raise ConfigurationError(
        f"{IDLE_VARIABLE}: not a number of seconds: {one_line(text, 40)}: "
        f"e.g. {DEFAULT_IDLE_SECONDS:.0f}"
    )


def _say(report: Report, message: str) -> Callable[[], None]:
    return lambda: report(Progress("wait", message))


def ensure_server(files: ServerFiles, start: ServerStart, report: Report = silent) -> None:
    """Return when a server answers; the caller holds the start lock.

    A server that is dead or hung is replaced. Raises ConfigurationError where none comes up.
    """
    if _is_healthy(files.socket):
        return
    if not _comes_up(files, report):
        _end(files)
        _start(files, start, report)
    report(Progress("ready", "the local model answers"))


def _comes_up(files: ServerFiles, report: Report) -> bool:
    """Wait for a living server that does not answer yet; tell whether it did in the end."""
    began = time.monotonic()
    while (record := living_server(files)) is not None:
        patience = LOAD_SECONDS if record.state == "loading" else HUNG_SECONDS
        if time.monotonic() - began > patience:
            return False
        report(Progress("wait", "waiting for the local model's server"))
        if _is_healthy(files.socket):
            return True
        time.sleep(POLL_SECONDS)
    return False


def _start(files: ServerFiles, start: ServerStart, report: Report) -> None:
    """Start a server in a session of its own, which outlives this process; return when it answers.

    Its environment is cut down to what it needs: it lives long, and keys are not its business.
    """
    command = [
        start.python, "-m", "runner.local_model.server",
        "--directory", str(files.directory), "--weights", str(start.weights),
        "--idle-seconds", str(start.idle_seconds),
    ]  # fmt: skip
    kept = {k: v for k, v in start.environment.items() if k.startswith(SERVER_VARIABLES)}
    process = Detached.start(command, files.log, kept)
    try:
        _wait_until_ready(process, files, report)
    except BaseException:
        process.end()
        raise


def _wait_until_ready(process: Detached, files: ServerFiles, report: Report) -> None:
    deadline = time.monotonic() + LOAD_SECONDS
    while not _is_healthy(files.socket):
        report(Progress("load", "loading the local model"))
        if (exit_code := process.poll()) is not None and living_server(files) is None:
            raise ConfigurationError(
                f"local model: its server ended with {exit_code}: {_last_line(files.log)}: "
                f"see {files.log}; a machine with 3 GB of free memory is needed"
            )
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"local model: its server did not answer within {LOAD_SECONDS:.0f} s: "
                f"see {files.log}"
            )
        time.sleep(POLL_SECONDS)


def _end(files: ServerFiles) -> None:
    """End the living server, if there is one, and wait for its lock."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if (record := living_server(files)) is None:
            return
        with suppress(ProcessLookupError):
            os.kill(record.pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while is_locked(files.server_lock) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        tail = _tail(file)
    lines = [line for line in tail.splitlines() if line.strip()]
    return one_line(lines[-1], 200) if lines else "it said nothing"


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - LOG_TAIL_BYTES))
    return file.read(LOG_TAIL_BYTES).decode("utf-8", "replace")


class _SocketConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _is_healthy(path: Path) -> bool:
    """Ask the server's health; False where nobody answers, or while the model is loading."""
    connection = _SocketConnection(path, timeout_seconds=2.0)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
