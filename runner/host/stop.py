"""Ask a run's supervisor to end it. Runs on: host."""

import os
import signal
import time

from runner.errors import ConfigurationError, RunTimeoutError
from runner.host.run_store import RunDirectory

_POLL_SECONDS = 0.05


def stop_run(run: RunDirectory, *, timeout_seconds: float) -> str:
    """Send SIGTERM to the supervisor and wait until it has closed the run; return what happened.

    The lock proves that the supervisor lives, so that its process id is not somebody else's.
    Raises ConfigurationError for a lost record, RunTimeoutError where the run does not end.
    """
    record = run.read_record()
    if record is None:
        raise ConfigurationError(f"{run.record}: unreadable: massgen-runner clean tidies up")
    if not run.has_supervisor():
        if record.state == "exited":
            return f"{run.run_id} has ended already."
        return f"{run.run_id} has no supervisor any more: massgen-runner clean removes the rest."
    try:
        os.kill(record.supervisor_pid, signal.SIGTERM)
    except PermissionError as error:
        raise ConfigurationError(
            f"{run.run_id}: process {record.supervisor_pid} is another user's: stop it as that user"
        ) from error
    give_up = time.monotonic() + timeout_seconds
    while run.has_supervisor():
        if time.monotonic() > give_up:
            raise RunTimeoutError(
                f"{run.run_id} did not end within {timeout_seconds:g} s: stop it once more, or "
                f"kill -9 {record.supervisor_pid} and run massgen-runner clean"
            )
        time.sleep(_POLL_SECONDS)
    return f"{run.run_id} stopped."
