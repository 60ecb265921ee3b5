"""Which paths of a service may be asked for; paths that can be read in two ways are none.

Runs on: host.
"""

import re
import string
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MAX_PATH = 8192
_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*")
_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9._~!$&'()+,;=:@-]+")
_CODE = re.compile(r"%([0-9A-Fa-f]{2})")
# Encoded, these mean something else to whoever decodes them (or decodes them twice): controls,
# slashes of both kinds, the percent sign, the semicolon, and what needs no code.
_PLAIN = frozenset(b"-._~") | frozenset((string.ascii_letters + string.digits).encode())
_TWO_WAYS = frozenset(range(32)) | frozenset(b"\x7f/\\%;") | _PLAIN


class PathError(ValueError):
    """A path is refused; the message says why."""


class PathPattern(NamedTuple):
    """A pattern such as `/repos/*/issues/**`, segment by segment."""

    segments: tuple[str, ...]
    """`*`: one segment; `**`: one or more, the empty one after a last slash included."""

    def matches(self, path: str) -> bool:
        """Tell whether a path, checked before, is one of the pattern's."""
        at = {0}
        for segment in path[1:].split("/"):
            at = {after for place in at for after in self._after(place, segment)}
        return len(self.segments) in at

    def _after(self, place: int, segment: str) -> Iterable[int]:
        """Yield where in the pattern one may be after a segment."""
        if place == len(self.segments):
            return
        wanted = self.segments[place]
        if wanted == "**":
            yield place
            yield place + 1
        elif wanted == segment or (wanted == "*" and segment):
            yield place + 1

    def __str__(self) -> str:
        return "/" + "/".join(self.segments)


def parse_pattern(text: str) -> PathPattern:
    """Return the pattern that a text of a configuration is. Raises PathError."""
    if not text.startswith("/") or len(text) > 1024:
        raise PathError("must begin with / (allowed: as in /repos/*/issues or /repos/**)")
    segments = text[1:].split("/")
    for index, segment in enumerate(segments):
        if segment in {"*", "**"} or (not segment and index == len(segments) - 1):
            continue
        if segment in {".", ".."} or not _PLAIN_SEGMENT.fullmatch(segment):
            what = "has a segment that is none"
            raise PathError(f"{what} (allowed: plain characters, * for one segment, ** for more)")
    return PathPattern(tuple(segments))


def checked_path(path: str) -> str:
    """Return a path, as it stands in a request, if it can be read in one way only.

    Raises PathError.
    """
    if not path.startswith("/") or len(path) > MAX_PATH:
        raise PathError(f"the path does not begin with /, or is longer than {MAX_PATH} characters")
    *inner, last = path[1:].split("/")
    if not all(inner):
        raise PathError("the path has an empty segment (//)")
    for segment in (*inner, last):
        if segment.partition(";")[0] in {".", ".."}:
            raise PathError("the path has a segment . or ..")
        if not _SEGMENT.fullmatch(segment):
            raise PathError("the path has a character in it that must be encoded, or a broken code")
        if any(int(code, 16) in _TWO_WAYS for code in _CODE.findall(segment)):
            raise PathError(
                "the path has an encoded slash, dot, percent sign, letter or control character: "
                "write what needs no code plainly"
            )
    return path


def is_permitted(path: str, patterns: Sequence[PathPattern]) -> bool:
    """Tell whether a checked path matches one of the patterns."""
    return any(pattern.matches(path) for pattern in patterns)
