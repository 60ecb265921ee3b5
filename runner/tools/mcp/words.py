"""What a server's process says beside the protocol, in bounds. Runs on: the agent container."""

import os
import tempfile
from pathlib import Path

from runner.contract.text import one_line

MAX_LOG_BYTES = 1024 * 1024
_TAIL_BYTES = 4_000
_SHOWN_CHARS = 600


def log_path(server: str) -> Path:
    """Return the file with what a server has said, for the agent to read."""
    return Path(tempfile.gettempdir(), "mcp", f"{server}.log")


class Words:
    """The first megabyte goes to a file, the last words are kept; all between is dropped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._room = MAX_LOG_BYTES
        self._tail = b""

    def add(self, data: bytes) -> None:
        """Take what the process printed."""
        self._tail = (self._tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        written, self._room = data[: self._room], max(0, self._room - len(data))
        if written:
            self._append(written)

    @property
    def last(self) -> str:
        """The end of it, in one line."""
        return one_line(self._tail.decode("utf-8", "replace")[-_SHOWN_CHARS:], _SHOWN_CHARS)

    def _append(self, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, flags | os.O_NONBLOCK, 0o644)
        except OSError:
            self._room = 0  # the agent's own doing: it has the same rights here
            return
        try:
            os.write(descriptor, data)
        except OSError:
            self._room = 0
        finally:
            os.close(descriptor)
