"""What a command prints: kept within bounds, and shown while it runs. Runs on: the agent container.

Neither memory nor disk grows with what is printed: beginning and end are kept, the whole goes to a
file up to a limit, and of the rest a part is shown.
"""

import asyncio
import codecs
import os
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path

from runner.contract.text import printable
from runner.tools.calls import Emit

SHOWN_BYTES = 40_000
"""What a model is shown of one command's output; beginning and end of what is longer."""
WHOLE_BYTES = 16 * 1024 * 1024
"""How much of one command's output is kept in a file."""
_FILES = 4
"""The newest ones that are kept: /tmp counts as the container's memory."""
_HALF = SHOWN_BYTES // 2

_FRAME_SECONDS = 0.05
_FRAME_BYTES = 4096
_LIVE_BYTES = 1024 * 1024
"""Of one call, shown while it runs: the log keeps it."""


class OutputFiles:
    """Where the whole of long outputs is kept; the directory goes with the tool server."""

    def __init__(self) -> None:
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._files: deque[Path] = deque()
        self._number = 0

    def make(self) -> tuple[Path, int]:
        """Return a new file and its descriptor, having removed the oldest. Raises OSError."""
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(
                prefix="command-output-", ignore_cleanup_errors=True
            )
        while len(self._files) >= _FILES:
            self._files.popleft().unlink(missing_ok=True)
        self._number += 1
        path = Path(self._directory.name, f"{self._number}.txt")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
        self._files.append(path)
        return path, descriptor


class KeptOutput:
    """Beginning and end of what a command prints, and the whole in a file where it is long."""

    def __init__(self, files: OutputFiles) -> None:
        self._files = files
        self._start = bytearray()
        self._end = bytearray()
        self._total = 0
        self._path: Path | None = None
        self._descriptor: int | None = None
        self._written = 0

    def feed(self, data: bytes) -> None:
        """Take what was printed."""
        self._total += len(data)
        if self._total <= SHOWN_BYTES:
            self._start += data
            return
        if not self._end:
            self._open()
            data = bytes(self._start) + data
            self._start = bytearray(data[:_HALF])
        self._end += data[-2 * _HALF :]
        if len(self._end) > 4 * _HALF:
            del self._end[:-_HALF]
        self._write(data)

    def _open(self) -> None:
        with suppress(OSError):  # no room: it is said that the whole is nowhere
            self._path, self._descriptor = self._files.make()

    def _write(self, data: bytes) -> None:
        if self._descriptor is None:
            return
        piece = data[: WHOLE_BYTES - self._written]
        try:
            self._written += os.write(self._descriptor, piece) if piece else 0
        except OSError:
            self.close()
            return
        if self._written >= WHOLE_BYTES:
            self.close()

    def close(self) -> None:
        """Close the file; it stays."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def text(self) -> str:
        """Return what a model is shown."""
        start = printable(self._start.decode("utf-8", "replace"))
        if not self._end:
            return start
        end = printable(self._end[-_HALF:].decode("utf-8", "replace"))
        return f"{start}\n[... {self._cut()} ...]\n{end}"

    def _cut(self) -> str:
        cut = f"{self._total - 2 * _HALF:,} bytes are not shown"
        if self._path is None or not self._written:
            return cut
        if self._written == self._total:
            return f"{cut}; all {self._total:,} are in {self._path}"
        return f"{cut}; the first {self._written:,} of {self._total:,} are in {self._path}"


class LiveOutput:
    """Sends what a command prints on, at a bounded rate and up to a bounded amount."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = bytearray()
        self._skipped = 0
        self._sent = 0
        self._timer: asyncio.TimerHandle | None = None

    def feed(self, data: bytes) -> None:
        """Take what was printed; it is sent within a moment."""
        self._pending += data[-_FRAME_BYTES:]
        too_many = max(0, len(self._pending) - _FRAME_BYTES)
        del self._pending[:too_many]
        self._skipped += max(0, len(data) - _FRAME_BYTES) + too_many
        if self._timer is None and self._sent < _LIVE_BYTES:
            self._timer = asyncio.get_running_loop().call_later(_FRAME_SECONDS, self._flush)

    def close(self) -> None:
        """Send what is left: always the last that was printed."""
        if self._timer is not None:
            self._timer.cancel()
        self._flush()

    def _flush(self) -> None:
        self._timer = None
        if not self._pending:
            return
        skipped = ""
        if self._skipped:
            self._decoder.reset()
            skipped = f"\n[... {self._skipped:,} bytes ...]\n"
        self._emit(skipped + self._decoder.decode(bytes(self._pending)))
        self._sent += len(self._pending)
        self._pending.clear()
        self._skipped = 0
