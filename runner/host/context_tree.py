"""What a directory holds, so that two states of it can be told apart. Runs on: host.

An agent may have written the directory: no link is followed, and what is neither file, directory
nor link is passed over.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from runner.errors import ExecutionError

MAX_ENTRIES = 200_000
MAX_DEPTH = 200
MAX_BYTES = 4 * 1024**3
_READ_BYTES = 1024 * 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Entry(NamedTuple):
    """A file, directory or link, by what it is and what is in it."""

    kind: Literal["file", "directory", "link"]
    mode: int
    """Permission bits without setuid, setgid and sticky; 0 for a link."""
    content: str
    """Hash of a file, target of a link, nothing for a directory."""


Tree = Mapping[str, Entry]
"""Path relative to the root, with `/` and surrogate escapes → entry."""


class TooLargeError(ExecutionError):
    """A tree that has more in it than is looked at."""


def read_tree(root: Path) -> dict[str, Entry]:
    """Return everything below `root`, which is trusted itself. Raises OSError, TooLargeError."""
    tree: dict[str, Entry] = {}
    room = _Room(root)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _read_into(tree, descriptor, "", room)
    finally:
        os.close(descriptor)
    return tree


def read_entry(directory: int, name: str) -> Entry | None:
    """Return what `name` is in an open directory, None where there is nothing of the kinds."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return _entry(directory, name, found, _Room(Path(name)))


class _Room:
    """What may still be read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._entries = MAX_ENTRIES
        self._bytes = MAX_BYTES

    def take(self, entries: int = 0, size: int = 0) -> None:
        self._entries -= entries
        self._bytes -= size
        if self._entries < 0 or self._bytes < 0:
            limit = f"{MAX_ENTRIES} entries, {MAX_BYTES // 1024**3} GiB"
            raise TooLargeError(f"{self._root}: holds more than can be compared ({limit})")


def _read_into(tree: dict[str, Entry], directory: int, prefix: str, room: _Room) -> None:
    if prefix.count("/") > MAX_DEPTH:
        raise TooLargeError(f"{prefix[:80]}…: is deeper than {MAX_DEPTH} directories")
    for name in _names(directory):
        room.take(entries=1)
        with suppress(FileNotFoundError):  # gone meanwhile
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            entry = _entry(directory, name, found, room)
            if entry is None:
                continue
            tree[prefix + name] = entry
            if entry.kind == "directory":
                inner = os.open(name, _DIRECTORY, dir_fd=directory)
                try:
                    _read_into(tree, inner, f"{prefix}{name}/", room)
                finally:
                    os.close(inner)


def _names(directory: int) -> Iterator[str]:
    with os.scandir(directory) as found:
        yield from sorted(entry.name for entry in found)


def _entry(directory: int, name: str, found: os.stat_result, room: _Room) -> Entry | None:
    mode = stat.S_IMODE(found.st_mode) & 0o777
    if stat.S_ISDIR(found.st_mode):
        return Entry("directory", mode, "")
    if stat.S_ISLNK(found.st_mode):
        return Entry("link", 0, os.readlink(name, dir_fd=directory))
    if stat.S_ISREG(found.st_mode):
        return Entry("file", mode, _hash(directory, name, room))
    return None


def _hash(directory: int, name: str, room: _Room) -> str:
    digest = hashlib.blake2b(digest_size=32)
    descriptor = os.open(name, _FILE, dir_fd=directory)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while data := file.read(_READ_BYTES):
            room.take(size=len(data))
            digest.update(data)
    return digest.hexdigest()
