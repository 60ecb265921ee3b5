"""A process that outlives its starter. Runs on: host."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

_POLL_SECONDS = 0.05


class Detached:
    """A child in a session of its own; forgetting it is fine, unlike a `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._exit_code: int | None = None

    @classmethod
    def start(cls, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Self:
        """Start `command`, a path and its arguments, with all output to `log`, made anew.

        Raises OSError where it cannot be started.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        pid = os.posix_spawn(
            command[0],
            list(command),
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        return cls(pid)

    def poll(self) -> int | None:
        """Return the exit code, a signal's as its negative, or None while the process lives."""
        if self._exit_code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self._exit_code = os.waitstatus_to_exitcode(status)
        return self._exit_code

    def end(self, patience_seconds: float = 0.0) -> None:
        """Ask the process to end, and kill it when `patience_seconds` are over."""
        if patience_seconds and self.poll() is None:
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + patience_seconds
            while self.poll() is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        if self.poll() is None:
            self._signal(signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self._exit_code = os.waitstatus_to_exitcode(status)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
