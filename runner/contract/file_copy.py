"""Copy one open file into another, holes and all. Runs on: both sides.

A file system that can share blocks shares them; others copy inside the kernel where they can. A
hole stays a hole, so that a file costs what it holds and not what it claims to be.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

SMALL_BYTES = 256 * 1024
"""Files up to this size go through memory: one read and one write."""
_CHUNK_BYTES = 8 * 1024 * 1024
_FICLONE = 0x40049409
_BLOCK_BYTES = 512
_CANNOT = frozenset({errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM})


class OverLimitError(Exception):
    """A file holds more than may be copied."""


class Extent(NamedTuple):
    start: int
    end: int


def held_bytes(state: os.stat_result) -> int:
    """Return what a file holds: without its holes."""
    return min(state.st_size, state.st_blocks * _BLOCK_BYTES)


class FileCopier:
    """Copies file contents; remembers what the file system cannot do."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._may_clone = True
        self._may_copy_range = True

    def copy(self, source: int, target: int, state: os.stat_result, max_bytes: int) -> int:
        """Copy what `source` holds into the empty file `target`; return how many bytes that was.

        Raises OverLimitError where it is more than `max_bytes`, OSError, and what `check` raises.
        """
        if held_bytes(state) > max_bytes:
            raise OverLimitError
        if 0 < state.st_size <= SMALL_BYTES and _is_dense(state):
            return _copy_through_memory(source, target, Extent(0, state.st_size))
        if self._cloned(source, target):
            return held_bytes(state)
        copied = 0
        for extent in _extents(source, state):
            if copied + extent.end - extent.start > max_bytes:
                raise OverLimitError
            copied += self._copy_extent(source, target, extent)
        if not _is_dense(state):
            os.ftruncate(target, state.st_size)
        return copied

    def _cloned(self, source: int, target: int) -> bool:
        if not self._may_clone:
            return False
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            self._may_clone = False
        return self._may_clone

    def _copy_extent(self, source: int, target: int, extent: Extent) -> int:
        """Copy one stretch; a file that has become shorter meanwhile ends it early."""
        at = extent.start
        while at < extent.end:
            self._check()
            piece = Extent(at, min(extent.end, at + _CHUNK_BYTES))
            copied = self._copy_piece(source, target, piece)
            if copied == 0:
                break
            at += copied
        return at - extent.start

    def _copy_piece(self, source: int, target: int, piece: Extent) -> int:
        size = piece.end - piece.start
        if self._may_copy_range:
            try:
                return os.copy_file_range(source, target, size, piece.start, piece.start)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                self._may_copy_range = False
        return _copy_through_memory(source, target, piece)


def _is_dense(state: os.stat_result) -> bool:
    return state.st_blocks * _BLOCK_BYTES >= state.st_size


def _copy_through_memory(source: int, target: int, piece: Extent) -> int:
    data = os.pread(source, piece.end - piece.start, piece.start)
    written = 0
    while written < len(data):
        written += os.pwrite(target, data[written:], piece.start + written)
    return len(data)


def _extents(source: int, state: os.stat_result) -> Iterator[Extent]:
    """Yield the stretches of a file that hold something, up to its size as it was."""
    if _is_dense(state):
        yield Extent(0, state.st_size)
        return
    at = 0
    while at < state.st_size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        at = min(os.lseek(source, start, os.SEEK_HOLE), state.st_size)
        if start >= at:
            return
        yield Extent(start, at)
