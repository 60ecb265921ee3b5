"""Lend a directory to a container's user, and take it back. Runs on: host.

A root caller's containers do not run as root, and what they wrote is handed back at the end, when
they are dead. What agents wrote may be of any depth; links are never followed, and no file keeps
the right to run as somebody else.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = stat.S_ISUID | stat.S_ISGID


def give(root: Path, uid: int, gid: int) -> None:
    """Make uid and gid own `root` and everything below it. Raises OSError where root is missing.

    What vanishes, and what cannot be entered, is passed over; set-user-id and set-group-id bits of
    files are taken away.
    """
    os.chown(root, uid, gid, follow_symlinks=False)
    for place in _walk(root):
        _strip(place)
        with suppress(OSError):
            os.chown(place.name, uid, gid, dir_fd=place.directory, follow_symlinks=False)


def strip_special_bits(root: Path) -> None:
    """Take set-user-id and set-group-id bits from all files below `root`. Raises OSError."""
    for place in _walk(root):
        _strip(place)


class _Place(NamedTuple):
    directory: int
    """An open directory, until the next place is asked for."""
    name: str
    found: os.stat_result


class _Level(NamedTuple):
    """A directory on the way down, to be known again on the way up."""

    identity: tuple[int, int]
    names: Iterator[str]


def _walk(root: Path) -> Iterator[_Place]:
    """Yield everything below `root`: one descriptor at a time, whatever the depth."""
    directory = os.open(root, _DIRECTORY)
    try:
        levels = [_level(directory)]
        while levels:
            name = next(levels[-1].names, None)
            if name is None:
                levels.pop()
                if not levels:
                    return
                directory = _moved(directory, "..")
                if _identity(os.fstat(directory)) != levels[-1].identity:
                    return  # somebody moves directories about: nothing more is certain
                continue
            with suppress(OSError):  # gone, or not to be entered
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                yield _Place(directory, name, found)
                if stat.S_ISDIR(found.st_mode):
                    directory = _moved(directory, name)
                    levels.append(_level(directory))
    finally:
        os.close(directory)


def _level(directory: int) -> _Level:
    return _Level(_identity(os.fstat(directory)), iter(os.listdir(directory)))


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _moved(directory: int, name: str) -> int:
    """Return a descriptor of `name` in a directory, whose own is closed then. Raises OSError."""
    inner = os.open(name, _DIRECTORY, dir_fd=directory)
    os.close(directory)
    return inner


def _strip(place: _Place) -> None:
    if not stat.S_ISREG(place.found.st_mode) or not place.found.st_mode & _SPECIAL:
        return
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(OSError):
        descriptor = os.open(place.name, flags, dir_fd=place.directory)
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode) & ~_SPECIAL
            os.chmod(f"/proc/self/fd/{descriptor}", mode)
        finally:
            os.close(descriptor)
