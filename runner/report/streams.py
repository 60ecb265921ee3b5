"""Standard streams that may go away, or cannot show every character. Runs on: host."""

import io
import os
from collections.abc import Mapping
from typing import TextIO

_COERCED = "C.UTF-8"


class ForgivingStream(io.TextIOBase):
    """A text stream whose reader may leave at any time: that ends no run.

    What the stream's encoding cannot express is written as `\\xe9`, `\\u2026` and the like.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"

    @property
    def encoding(self) -> str:  # type: ignore[override]  # io's is writable
        return self._encoding

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write `text`; after the first failure nothing is written any more."""
        if self._stream is not None:
            try:
                self._stream.write(self._expressible(text))
            except (OSError, ValueError):
                self._give_up(self._stream)
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._give_up(self._stream)

    def lines(self, *lines: str) -> None:
        """Write whole lines in one piece, and flush them."""
        self.write("".join(f"{line}\n" for line in lines))
        self.flush()

    def _expressible(self, text: str) -> str:
        return text.encode(self._encoding, "backslashreplace").decode(self._encoding)

    def _give_up(self, stream: TextIO) -> None:
        """Send what the interpreter still has buffered to nowhere, so that its exit is silent."""
        self._stream = None
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
        except (OSError, ValueError):
            return


def in_utf8(stream: TextIO) -> TextIO:
    """Return `stream`, writing UTF-8 whatever the locale says: paths are then as on the disk."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8")
    return stream


def locale_is_plain(environ: Mapping[str, str]) -> bool:
    """Tell whether the user's locale is C, in which Python writes UTF-8 and a terminal may not.

    In that locale Python sets LC_CTYPE to C.UTF-8 itself (PEP 538), so that value says nothing.
    """
    ctype = environ.get("LC_CTYPE", "")
    names = (environ.get("LC_ALL"), "" if ctype == _COERCED else ctype, environ.get("LANG"))
    return next((name for name in names if name), "C") in {"C", "POSIX"}
