"""Globs over names and paths; no pattern takes long. Runs on: the agent container."""

import fnmatch
import re
from collections.abc import Iterable, Sequence


class Globs:
    """Several globs, one of which must match.

    One without `/` is matched with the name alone; one with `/` with the whole path, where `**`
    stands for any directories, also none.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(_parts(pattern) for pattern in patterns)

    def match(self, path: Sequence[str]) -> bool:
        """Tell whether one of them matches a path, given as its names."""
        return any(_matches(pattern, path) for pattern in self._patterns)


def has_wildcards(pattern: str) -> bool:
    """Tell whether a pattern is more than a plain name."""
    return any(character in pattern for character in "*?[")


_Part = re.Pattern[str] | None


def _parts(pattern: str) -> tuple[_Part, ...]:
    parts = pattern.strip("/").removeprefix("./").split("/")
    if "/" not in pattern.rstrip("/"):
        parts = ["**", *parts]
    return tuple(None if part == "**" else _compiled(part) for part in parts)


def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(part))  # written so that `*a*a*a` cannot explode


def _matches(pattern: tuple[_Part, ...], path: Sequence[str]) -> bool:
    reached = {0}  # how many of the path's names the pattern so far can have used up
    for part in pattern:
        if part is None:
            reached = set(range(min(reached), len(path) + 1))
        else:
            reached = {n + 1 for n in reached if n < len(path) and part.match(path[n])}
        if not reached:
            return False
    return len(path) in reached
