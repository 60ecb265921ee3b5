"""Walk over directories that may be huge, deep or hostile. Runs on: the agent container.

Without pydantic and within bounds of entries, depth and time; no link is followed.
"""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from runner.tools.files.globs import Globs

MAX_ENTRIES = 200_000
MAX_DEPTH = 100
WALK_SECONDS = 20.0


class Entry(NamedTuple):
    """Something in a directory."""

    names: tuple[str, ...]
    """From the top, its own last."""
    path: str
    is_directory: bool
    """Itself, not what it may link to."""
    is_file: bool

    @property
    def below(self) -> str:
        """The path from the top of the walk."""
        return "/".join(self.names)


class Walk:
    """All that is below a directory, each directory before what it holds, sorted by name."""

    def __init__(self, top: str, excluded: Globs, most: int = MAX_ENTRIES) -> None:
        self._top = top
        self._excluded = excluded
        self._most = most
        self._until = time.monotonic() + WALK_SECONDS
        self.left_out: list[str] = []
        """What the walk did not see, in a few sentences, once it is over."""
        self._unreadable = 0
        self._too_deep = 0

    def __iter__(self) -> Iterator[Entry]:
        """Yield entries until there are no more or a bound is reached. Raises OSError."""
        for seen, entry in enumerate(self._entries(), 1):
            if seen > self._most:
                self.left_out.append(f"there are more than {self._most:,} entries")
                break
            if time.monotonic() > self._until:
                self.left_out.append(f"it took longer than {WALK_SECONDS:g} s")
                break
            yield entry
        if self._too_deep:
            self.left_out.append(f"{self._too_deep:,} directories deeper than {MAX_DEPTH}")
        if self._unreadable:
            self.left_out.append(f"{self._unreadable:,} directories cannot be read")

    def _entries(self) -> Iterator[Entry]:
        waiting = self._sorted((), self._top)
        while waiting:
            entry = waiting.pop()
            yield entry
            if not entry.is_directory:
                continue
            if len(entry.names) >= MAX_DEPTH:
                self._too_deep += 1
                continue
            try:
                waiting += self._sorted(entry.names, entry.path)
            except OSError:
                self._unreadable += 1

    def _sorted(self, names: tuple[str, ...], path: str) -> list[Entry]:
        """Return what is in a directory, the first by name at the end."""
        found = []
        with os.scandir(path) as entries:
            for entry in entries:
                below = (*names, entry.name)
                if not self._excluded.match(below):
                    found.append(_entry(below, entry))
                if len(found) > self._most:
                    break
        found.sort(key=lambda entry: entry.names[-1], reverse=True)
        return found


def _entry(names: tuple[str, ...], entry: os.DirEntry[str]) -> Entry:
    try:
        is_directory = entry.is_dir(follow_symlinks=False)
        is_file = entry.is_file(follow_symlinks=False)
    except OSError:
        is_directory = is_file = False
    return Entry(names, entry.path, is_directory, is_file)
