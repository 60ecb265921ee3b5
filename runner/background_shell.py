"""BackgroundShellManager: commands in the background, for scripts. Runs on: host.

Each shell has one thread, which waits for output and for the end of the process, and is gone with
it. A shell leaves `running` only when its exit code is known and its output is complete.
"""

import atexit
import codecs
import collections
import contextlib
import datetime as dt
import os
import secrets
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

MAX_CONCURRENT = 10
MAX_OUTPUT_LINES = 10_000
GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL: a run needs some seconds to take its container along."""
_MAX_LINE_CHARS = 1_000_000
_PIECE_BYTES = 65_536
_GROUP_POLL_SECONDS = 0.02

State = Literal["running", "stopped", "failed", "killed"]


class _Lines:
    """The last lines of a stream; bytes that are no UTF-8 are replaced."""

    def __init__(self, limit: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lines: collections.deque[str] = collections.deque(maxlen=limit)
        self._rest = ""

    def feed(self, data: bytes, *, final: bool = False) -> None:
        pieces = (self._rest + self._decoder.decode(data, final)).split("\n")
        self._rest = pieces.pop()[-_MAX_LINE_CHARS:]
        self._lines.extend(pieces)

    def text(self) -> str:
        kept = [*self._lines, self._rest]
        return "\n".join(kept[-(self._lines.maxlen or 0) - 1 :])


class _Shell:
    """One command, its process group and what it has printed."""

    def __init__(
        self, command: str, cwd: str | None, env: Mapping[str, str] | None, max_lines: int
    ) -> None:
        self.id = f"shell_{secrets.token_hex(4)}"
        self._command = command
        self._cwd = cwd or str(Path.cwd())
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._killed = False
        self._outputs = {"stdout": _Lines(max_lines), "stderr": _Lines(max_lines)}
        self._start_time = dt.datetime.now().astimezone()
        self._started = time.monotonic()
        self._duration = 0.0
        self._exit_code: int | None = None
        self._process = subprocess.Popen(  # noqa: S602 - a shell command is what callers ask for
            command,
            shell=True,
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a group of its own, to be ended as a whole
        )
        threading.Thread(target=self._attend, name=self.id, daemon=True).start()

    def _attend(self) -> None:
        """Collect output until the process has ended and its pipes hold nothing more."""
        process = self._process
        descriptor = os.pidfd_open(process.pid)
        with contextlib.closing(selectors.DefaultSelector()) as selector:
            for name in self._outputs:
                pipe = getattr(process, name)
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, name)
            selector.register(descriptor, selectors.EVENT_READ, None)
            running = True
            while running:
                for key, _ in selector.select():
                    if key.data is None:
                        running = False
                    elif not self._drain(key.data):
                        selector.unregister(key.fileobj)
        os.close(descriptor)
        self._finish(process.wait())

    def _drain(self, name: str) -> bool:
        """Take what a pipe holds now; False at its end."""
        pipe = getattr(self._process, name)
        while True:
            try:
                data = os.read(pipe.fileno(), _PIECE_BYTES)
            except BlockingIOError:
                return True
            with self._lock:
                self._outputs[name].feed(data, final=not data)
            if not data:
                return False

    def _finish(self, exit_code: int) -> None:
        for name in self._outputs:
            self._drain(name)  # written before the end, even by children that keep the pipe open
            getattr(self._process, name).close()
        with self._lock:
            self._duration = time.monotonic() - self._started
            self._exit_code = exit_code
        self._ended.set()

    @property
    def is_running(self) -> bool:
        return not self._ended.is_set()

    def _state(self) -> State:
        if self.is_running:
            return "running"
        if self._killed or (self._exit_code or 0) < 0:
            return "killed"
        return "failed" if self._exit_code else "stopped"

    def output(self) -> dict[str, Any]:
        with self._lock:
            return {
                "shell_id": self.id,
                "stdout": self._outputs["stdout"].text(),
                "stderr": self._outputs["stderr"].text(),
                "status": self._state(),
                "exit_code": self._exit_code,
            }

    def status(self) -> dict[str, Any]:
        with self._lock:
            duration = time.monotonic() - self._started if self.is_running else self._duration
            return {
                "shell_id": self.id,
                "status": self._state(),
                "exit_code": self._exit_code,
                "pid": self._process.pid,
                "command": self._command,
                "cwd": self._cwd,
                "start_time": self._start_time.isoformat(),
                "duration_seconds": round(duration, 2),
            }

    def kill(self, grace_seconds: float) -> dict[str, Any]:
        if not self.is_running:
            return {
                "shell_id": self.id,
                "status": self._state(),
                "signal": None,
                "message": "Process already terminated",
            }
        self._killed = True
        self._end_group(grace_seconds)
        self._ended.wait()
        return {"shell_id": self.id, "status": "killed", "signal": "SIGTERM"}

    def _end_group(self, grace_seconds: float) -> None:
        """End all processes of the group: gently, then for certain."""
        give_up = time.monotonic() + grace_seconds
        self._signal_group(signal.SIGTERM)
        while self._signal_group(0):
            if time.monotonic() > give_up:
                self._signal_group(signal.SIGKILL)
                return
            time.sleep(_GROUP_POLL_SECONDS)

    def _signal_group(self, number: int) -> bool:
        """Signal the group; False where nobody is left in it."""
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


class BackgroundShellManager:
    """Starts commands in the background and keeps their output; safe to use from threads."""

    def __init__(
        self,
        max_concurrent: int = MAX_CONCURRENT,
        max_output_lines: int = MAX_OUTPUT_LINES,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._max_concurrent = max_concurrent
        self._max_output_lines = max_output_lines
        self._grace_seconds = grace_seconds
        self._shells: dict[str, _Shell] = {}
        self._lock = threading.Lock()

    def start_shell(
        self, command: str, cwd: str | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        """Start `command` in a shell and return its id; `env` is added to the environment.

        Raises RuntimeError when the limit is reached, OSError when it cannot be started.
        """
        with self._lock:
            running = sum(shell.is_running for shell in self._shells.values())
            if running >= self._max_concurrent:
                raise RuntimeError(f"Maximum concurrent shells ({self._max_concurrent}) reached")
            shell = _Shell(command, cwd, env, self._max_output_lines)
            self._shells[shell.id] = shell
        return shell.id

    def get_shell_output(self, shell_id: str) -> dict[str, Any]:
        """Return {shell_id, stdout, stderr, status, exit_code}; raises KeyError."""
        return self._shells[shell_id].output()

    def get_shell_status(self, shell_id: str) -> dict[str, Any]:
        """Return {shell_id, status, exit_code, pid, command, cwd, …}; raises KeyError."""
        return self._shells[shell_id].status()

    def kill_shell(self, shell_id: str) -> dict[str, Any]:
        """End a shell's whole process group; raises KeyError."""
        return self._shells[shell_id].kill(self._grace_seconds)

    def list_shells(self) -> list[dict[str, Any]]:
        """Return the status of every shell, in the order of their start."""
        with self._lock:
            shells = list(self._shells.values())
        return [shell.status() for shell in shells]

    def cleanup_all(self) -> None:
        """End every shell that still runs, all at the same time, and forget them all."""
        with self._lock:
            shells = list(self._shells.values())
            self._shells.clear()
        threads = [threading.Thread(target=s.kill, args=(self._grace_seconds,)) for s in shells]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


_manager = BackgroundShellManager()
atexit.register(_manager.cleanup_all)

start_shell = _manager.start_shell
get_shell_output = _manager.get_shell_output
get_shell_status = _manager.get_shell_status
kill_shell = _manager.kill_shell
list_shells = _manager.list_shells
cleanup_all = _manager.cleanup_all
