"""Copy a directory that somebody hostile fills, and say what was left out. Runs on: both sides.

Every component is opened from a descriptor without following a link, so that no name, link or
swap of entries leads outside. What cannot be copied is skipped and listed: sockets, FIFOs and
devices, links that leave the tree, what cannot be read, and what is beyond the limits. The target
is the caller's own: nobody else writes there.
"""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runner.contract.file_copy import FileCopier, OverLimitError
from runner.contract.text import one_line

MAX_LISTED = 1000
"""Skipped entries that a report names; the others are counted."""
MAX_PATH_BYTES = 3000
"""What is deeper has no name that programs can use."""
# Troubles of the copy as a whole: no other entry would fare better.
_FATAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE})
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not to wait for whoever holds a FIFO or a lease is what O_NONBLOCK is for.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o777
"""What is kept of a mode: neither setuid nor setgid nor sticky."""
_NO_FILE = "neither a file nor a directory nor a link"


class CopyStoppedError(Exception):
    """Nobody wants the copy any more."""


class CopyLimits(NamedTuple):
    max_bytes: int = 1024**3
    """Of what the files hold; holes cost nothing."""
    max_entries: int = 200_000
    max_depth: int = 100
    """Directories inside each other."""


class Skipped(NamedTuple):
    path: str
    """Relative to the tree, as one printable line."""
    reason: str


class CopyReport(NamedTuple):
    """What a copy holds, and what it does not."""

    files: int = 0
    bytes: int = 0
    skipped: tuple[Skipped, ...] = ()
    """The first MAX_LISTED of them."""
    skipped_count: int = 0


class _Pair(NamedTuple):
    """An open directory of the source, and its open counterpart."""

    source: int
    target: int


def copy_tree(
    source: Path,
    target: Path,
    limits: CopyLimits | None = None,
    stop: threading.Event | None = None,
) -> CopyReport:
    """Copy what is in `source` into the new directory `target`, and return what was copied.

    Modes and times are kept; hard links become files of their own; the owner of a directory can
    always enter and change it. Raises CopyStoppedError once `stop` is set, and OSError where the
    target has no room: what is there by then is the caller's to remove.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    target.mkdir(mode=0o700)
    try:
        source_root = os.open(source, flags)
    except OSError as error:  # its owner has closed it
        return CopyReport(skipped=(Skipped(".", _reason(error)),), skipped_count=1)
    try:
        target_root = os.open(target, flags)
        try:
            roots = _Pair(source_root, target_root)
            return _Copy(roots, limits or CopyLimits(), stop or threading.Event()).carried_out()
        finally:
            os.close(target_root)
    finally:
        os.close(source_root)


Parts = tuple[str, ...]


class _Copy:
    """One copy under way: directory by directory, so that no depth costs stack or descriptors."""

    def __init__(self, roots: _Pair, limits: CopyLimits, stop: threading.Event) -> None:
        self._roots = roots
        self._limits = limits
        self._stop = stop
        self._copier = FileCopier(self._check)
        self._entries = 0
        self._files = 0
        self._bytes = 0
        self._skipped: list[Skipped] = []
        self._skipped_count = 0
        self._waiting: list[Parts] = [()]
        """Directories that exist in the target and are still to be filled."""

    def carried_out(self) -> CopyReport:
        while self._waiting:
            parts = self._waiting.pop()
            try:
                with self._opened(parts) as pair:
                    self._fill(parts, pair)
            except OSError as error:
                self._skip(parts, error)
        return CopyReport(self._files, self._bytes, tuple(self._skipped), self._skipped_count)

    def _check(self) -> None:
        if self._stop.is_set():
            raise CopyStoppedError

    def _skip(self, parts: Parts, why: OSError | str) -> None:
        if isinstance(why, OSError):
            if why.errno in _FATAL:
                raise why
            why = _reason(why)
        self._skipped_count += 1
        if len(self._skipped) < MAX_LISTED:
            self._skipped.append(Skipped(_shown(parts), why))

    @contextmanager
    def _opened(self, parts: Parts) -> Iterator[_Pair]:
        source = _descended(self._roots.source, parts)
        try:
            target = os.open("/".join(parts) or ".", _DIRECTORY, dir_fd=self._roots.target)
            try:
                yield _Pair(source, target)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _fill(self, parts: Parts, pair: _Pair) -> None:
        """Copy the entries; directories among them are made now and filled later."""
        with os.scandir(pair.source) as entries:
            for entry in entries:
                self._check()
                if self._entries >= self._limits.max_entries:
                    self._skip(parts, f"more than {self._limits.max_entries} entries in all")
                    break
                self._entries += 1
                try:
                    self._copy_entry(parts, pair, entry)
                except OSError as error:
                    self._skip((*parts, entry.name), error)
                except OverLimitError:
                    self._skip((*parts, entry.name), f"over {self._limits.max_bytes} bytes in all")
        state = os.fstat(pair.source)
        os.fchmod(pair.target, state.st_mode & _MODE | 0o700)
        os.utime(pair.target, ns=(state.st_atime_ns, state.st_mtime_ns))

    def _copy_entry(self, parts: Parts, pair: _Pair, entry: os.DirEntry[str]) -> None:
        if entry.is_file(follow_symlinks=False):
            self._copy_file(parts, pair, entry.name)
        elif entry.is_dir(follow_symlinks=False):
            self._make_directory((*parts, entry.name), pair)
        elif entry.is_symlink():
            self._copy_link(parts, pair, entry.name)
        else:
            self._skip((*parts, entry.name), _NO_FILE)

    def _copy_file(self, parts: Parts, pair: _Pair, name: str) -> None:
        source = os.open(name, _READ, dir_fd=pair.source)
        try:
            state = os.fstat(source)
            if stat.S_ISREG(state.st_mode):
                self._bytes += self._copy_content(pair, name, source, state)
                self._files += 1
            else:
                self._skip((*parts, name), _NO_FILE)
        finally:
            os.close(source)

    def _copy_content(self, pair: _Pair, name: str, source: int, state: os.stat_result) -> int:
        target = os.open(name, _WRITE, 0o600, dir_fd=pair.target)
        try:
            room = self._limits.max_bytes - self._bytes
            copied = self._copier.copy(source, target, state, room)
            os.fchmod(target, state.st_mode & _MODE)
            os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))
        except BaseException:
            os.unlink(name, dir_fd=pair.target)
            raise
        finally:
            os.close(target)
        return copied

    def _make_directory(self, parts: Parts, pair: _Pair) -> None:
        if len(parts) > self._limits.max_depth:
            self._skip(parts, f"deeper than {self._limits.max_depth} directories")
        elif len(os.fsencode("/".join(parts))) > MAX_PATH_BYTES:
            self._skip(parts, f"its path is longer than {MAX_PATH_BYTES} bytes")
        else:
            os.mkdir(parts[-1], 0o700, dir_fd=pair.target)
            self._waiting.append(parts)

    def _copy_link(self, parts: Parts, pair: _Pair, name: str) -> None:
        state = os.stat(name, dir_fd=pair.source, follow_symlinks=False)
        pointed = os.readlink(name, dir_fd=pair.source)
        if not stays_inside(pointed, len(parts)):
            self._skip((*parts, name), "a link that leads out of the workspace")
            return
        os.symlink(pointed, name, dir_fd=pair.target)
        times = (state.st_atime_ns, state.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=pair.target, follow_symlinks=False)


def stays_inside(pointed: str, depth: int) -> bool:
    """Tell whether a link, `depth` directories deep, leads to a place in its tree.

    Going up is allowed at the beginning only: after a name, which may be a link itself, `..` may
    lead anywhere.
    """
    if pointed.startswith("/"):
        return False
    parts = [part for part in pointed.split("/") if part not in {"", "."}]
    ups = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    return ups <= depth and ".." not in parts[ups:]


def _descended(root: int, parts: Parts) -> int:
    """Return a new descriptor of a directory below `root`, reached without any link."""
    current = os.open(".", _DIRECTORY, dir_fd=root)
    for part in parts:
        try:
            inner = os.open(part, _DIRECTORY, dir_fd=current)
        finally:
            os.close(current)
        current = inner
    return current


def _reason(error: OSError) -> str:
    if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.ENXIO, errno.EAGAIN}:
        return "changed while it was copied"
    return f"cannot be copied: {error.strerror}"


def _shown(parts: Parts) -> str:
    return one_line(os.fsencode("/".join(parts) or ".").decode("utf-8", "replace"))
