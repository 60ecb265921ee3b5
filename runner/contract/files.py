"""Atomic writes, and reads that treat the writer as hostile. Runs on: both sides.

A reader of a mount follows no link at any component, opens regular files only, never blocks on
a FIFO and reads no more than it said. A writer replaces whole files, so that no instant shows a
half-written one: kill -9 between any two instructions leaves the old file or the new one, and at
most a stray temporary file.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

TEMPORARY_PREFIX = ".tmp-"
_HERE = PurePosixPath()
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class HostileFileError(OSError):
    """A path in a mount is not what it must be: a link, no regular file, or too large."""


@contextmanager
def open_directory(root: Path, relative: PurePosixPath = _HERE) -> Iterator[int]:
    """Yield a descriptor of `root/relative`; `root` is trusted, below it no link is followed.

    Raises FileNotFoundError, NotADirectoryError, or HostileFileError for `..` and absolute parts.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in relative.parts:
            if part in {"..", "/"}:
                raise HostileFileError(f"{relative}: leaves the directory")
            inner = os.open(part, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_regular(root: Path, relative: str) -> Iterator[int]:
    """Yield a read descriptor of the regular file `root/relative`, reached without any link.

    Raises FileNotFoundError, OSError, or HostileFileError (link, FIFO, device, directory).
    """
    path = PurePosixPath(relative)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with open_directory(root, path.parent) as directory:
        try:
            descriptor = os.open(path.name, flags, dir_fd=directory)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise HostileFileError(f"{relative}: cannot be opened: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise HostileFileError(f"{relative}: not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def read_bytes(root: Path, relative: str, max_bytes: int) -> bytes:
    """Read the regular file `root/relative` of at most `max_bytes` without following a link.

    Raises like `open_regular`, and HostileFileError for a larger file.
    """
    with (
        open_regular(root, relative) as descriptor,
        os.fdopen(descriptor, "rb", closefd=False) as file,
    ):
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise HostileFileError(f"{relative}: larger than {max_bytes} bytes")
    return content


def read_text(root: Path, relative: str, max_bytes: int) -> str:
    """Read like `read_bytes`; bytes that are no UTF-8 are replaced."""
    return read_bytes(root, relative, max_bytes).decode("utf-8", "replace")


def atomic_write(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Replace `path` by `content` in one step; `durable` also waits until the disk has it.

    The parent directory must exist and is trusted; a link at `path` is replaced, not followed.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    with open_directory(path.parent) as directory:
        temporary = f"{TEMPORARY_PREFIX}{path.name[:64]}-{secrets.token_hex(4)}"
        try:
            _write_new(temporary, directory, data, durable=durable)
            os.replace(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            _remove_quietly(temporary, directory)
            raise
        if durable:
            os.fsync(directory)


def _write_new(name: str, directory: int, data: bytes, *, durable: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o644, dir_fd=directory)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        if durable:
            os.fsync(descriptor)


def _remove_quietly(name: str, directory: int) -> None:
    with suppress(OSError):  # the error that brought us here is the one to report
        os.unlink(name, dir_fd=directory)
