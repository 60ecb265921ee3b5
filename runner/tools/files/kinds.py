"""What a file is, and opening it without ever waiting. Runs on: the agent container."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from runner.tools.calls import ToolError
from runner.tools.files.names import shown

_KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "link"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISBLK, "block device"),
    (stat.S_ISCHR, "character device"),
)
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x7fELF", "program or library (ELF)"),
    (b"SQLite format 3\x00", "SQLite database"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
HEAD_BYTES = 8192
"""Of a file, by which it is judged."""


class Opened(NamedTuple):
    """A regular file, open for reading."""

    descriptor: int
    status: os.stat_result

    @property
    def size(self) -> int:
        return self.status.st_size


def kind_of(mode: int) -> str:
    """Return what a file of this mode is, in a word or two."""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "unknown")


def is_binary(head: bytes) -> bool:
    """Tell by its first bytes whether a file is something else than text."""
    return b"\0" in head or head.startswith((b"%PDF-", *(m for m, k in _MAGIC if "image" in k)))


def content_type(head: bytes) -> str:
    """Return what a file's first bytes say that it is."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    known = (name for magic, name in _MAGIC if head.startswith(magic))
    return next(known, "unknown binary data" if is_binary(head) else "text")


@contextmanager
def open_regular(path: str) -> Iterator[Opened]:
    """Open a regular file, following links. Raises OSError, and ToolError for what is none."""
    check_regular(path, os.stat(path))  # opening a device or a FIFO can have an effect
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        check_regular(path, status)
        yield Opened(descriptor, status)
    finally:
        os.close(descriptor)


def check_regular(path: str, status: os.stat_result) -> None:
    """Raise ToolError where something is no regular file."""
    if not stat.S_ISREG(status.st_mode):
        raise ToolError(f"{shown(path)} is no file but a {kind_of(status.st_mode)}")
