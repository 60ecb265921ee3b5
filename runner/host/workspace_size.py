"""How much a directory holds that somebody hostile fills, walked while it changes. Runs on: host.

Only directories are opened, each from its parent's descriptor and never by a link, so that no name
or swap of entries leads outside. Files count by the blocks that they take: holes cost nothing.
"""

import os
import stat
import threading
from pathlib import Path
from typing import NamedTuple

MAX_DEPTH = 128
"""Directories inside each other that a walk goes down: each costs a descriptor."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK_BYTES = 512


class Held(NamedTuple):
    """What a walk found; with a flag set it is the least that there is."""

    bytes: int = 0
    entries: int = 0
    is_cut: bool = False
    """There are more entries than were looked at."""
    is_deep: bool = False
    """Something lies deeper than MAX_DEPTH."""
    is_closed: bool = False
    """A directory could not be opened."""


def held(root: Path, max_entries: int, stop: threading.Event | None = None) -> Held:
    """Return what is in `root`, having looked at no more than `max_entries` entries.

    A file with several names counts once; a root that is missing holds nothing. Once `stop` is set
    the walk ends as if there were too many entries.
    """
    walk = _Walk(max_entries, stop or threading.Event())
    try:
        descriptor = os.open(root, _DIRECTORY)
    except OSError:
        return Held(is_closed=True)
    return walk.carried_out(descriptor)


class _Level(NamedTuple):
    descriptor: int
    waiting: list[str]
    """Names of directories that are still to be entered."""


class _Walk:
    """One walk under way: depth costs descriptors up to a bound, never stack."""

    def __init__(self, max_entries: int, stop: threading.Event) -> None:
        self._max_entries = max_entries
        self._stop = stop
        self._found = Held()
        self._linked: set[tuple[int, int]] = set()
        """Files with several names that were counted: device and inode."""

    def carried_out(self, root: int) -> Held:
        levels = [_Level(root, [])]
        try:
            self._read(levels[0])
            while levels and not self._found.is_cut:
                if levels[-1].waiting:
                    self._enter(levels, levels[-1].waiting.pop())
                else:
                    os.close(levels.pop().descriptor)
        finally:
            for level in levels:
                os.close(level.descriptor)
        return self._found

    def _enter(self, levels: list[_Level], name: str) -> None:
        if len(levels) > MAX_DEPTH:
            self._found = self._found._replace(is_deep=True)
            return
        try:
            descriptor = os.open(name, _DIRECTORY, dir_fd=levels[-1].descriptor)
        except FileNotFoundError:
            return
        except OSError:
            self._found = self._found._replace(is_closed=True)
            return
        levels.append(_Level(descriptor, []))
        self._read(levels[-1])

    def _read(self, level: _Level) -> None:
        try:
            with os.scandir(level.descriptor) as entries:
                for entry in entries:
                    if self._found.entries >= self._max_entries or self._stop.is_set():
                        self._found = self._found._replace(is_cut=True)
                        return
                    self._count(entry, level)
        except OSError:
            self._found = self._found._replace(is_closed=True)

    def _count(self, entry: os.DirEntry[str], level: _Level) -> None:
        self._found = self._found._replace(entries=self._found.entries + 1)
        try:
            state = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(state.st_mode):
            level.waiting.append(entry.name)
        elif state.st_nlink > 1:
            file = (state.st_dev, state.st_ino)
            if file in self._linked:
                return
            self._linked.add(file)
        taken = state.st_blocks * _BLOCK_BYTES
        self._found = self._found._replace(bytes=self._found.bytes + taken)
