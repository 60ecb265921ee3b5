"""What agents say, written to agent_outputs/ while they say it. Runs on: the run container."""

import os
from pathlib import Path
from typing import Self

from runner.contract.text import printable

MAX_OUTPUT_BYTES = 128 * 1024 * 1024
"""An agent that never stops talking does not fill the disk."""
_CUT = "\n[the output is cut here]\n"


class OutputFile:
    """A growing text file: pieces are kept in memory until `flush`, so a token costs no write."""

    def __init__(self, path: Path, max_bytes: int = MAX_OUTPUT_BYTES) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o644)
        self._pieces: list[str] = []
        self._room = max_bytes

    def write(self, piece: str) -> None:
        """Take a piece of text; what agents wrote is made printable when it is flushed."""
        self._pieces.append(piece)

    def flush(self) -> None:
        """Append everything taken since the last flush. Raises OSError."""
        pieces, self._pieces = self._pieces, []
        if not pieces or self._room < 0:
            return
        data = printable("".join(pieces)).encode("utf-8", "replace")
        if len(data) > self._room:
            # Half a character at the cut goes with it.
            data = data[: self._room].decode("utf-8", "ignore").encode() + _CUT.encode()
            self._room = -1
        else:
            self._room -= len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def close(self) -> None:
        os.close(self._descriptor)


class Outputs:
    """The files of agent_outputs/ that are open; a context manager that closes them."""

    def __init__(self) -> None:
        self._files: dict[Path, OutputFile] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def write(self, path: Path, piece: str) -> None:
        """Add `piece` to the file at `path`, opened on first use. Raises OSError."""
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = OutputFile(path)
        file.write(piece)

    def flush(self) -> None:
        """Write out what all files hold back. Raises OSError."""
        for file in self._files.values():
            file.flush()
