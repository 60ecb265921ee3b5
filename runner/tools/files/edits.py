"""Edits by exact text, as pure functions. Runs on: the agent container."""

import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple

from runner.tools.files.ranges import decoded

MAX_DIFF_LINES = 400
_MAX_COMPARED_LINES = 4000
"""On either side, between the first difference and the last; more would take long."""
_CONTEXT = 3
_HUNK = re.compile(r"^@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@")


class EditError(ValueError):
    """An edit that cannot be made; the message tells the model why."""


class Replacement(NamedTuple):
    old: bytes
    new: bytes


def edited(content: bytes, edits: Sequence[Replacement]) -> bytes:
    """Return the content with all edits made, one after the other. Raises EditError."""
    for number, edit in enumerate(edits, 1):
        try:
            content = _replaced(content, edit)
        except EditError as error:
            which = f"edit {number} of {len(edits)}: " if len(edits) > 1 else ""
            raise EditError(f"{which}{error}; nothing was changed") from None
    return content


def _replaced(content: bytes, edit: Replacement) -> bytes:
    found = _positions(content, edit.old)
    if not found and b"\r\n" in content and b"\r\n" not in edit.old:
        edit = Replacement(_with_crlf(edit.old), _with_crlf(edit.new))
        found = _positions(content, edit.old)
    if not found:
        raise EditError(f"oldText is not in the file{_nearest(content, edit.old)}")
    if len(found) > 1:
        many = f"{len(found)} times" if len(found) < _MOST_FOUND else f"{_MOST_FOUND} times or more"
        where = ", ".join(str(content.count(b"\n", 0, at) + 1) for at in found[:5])
        more = " …" if len(found) > 5 else ""
        remedy = "give more of the lines around it"
        raise EditError(f"oldText is in the file {many} (lines {where}{more}): {remedy}")
    if edit.old == edit.new:
        raise EditError("newText is the same as oldText")
    at = found[0]
    return content[:at] + edit.new + content[at + len(edit.old) :]


_MOST_FOUND = 1000


def _positions(content: bytes, text: bytes) -> list[int]:
    found: list[int] = []
    at = content.find(text)
    while at >= 0 and len(found) < _MOST_FOUND:
        found.append(at)
        at = content.find(text, at + 1)
    return found


def _with_crlf(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


def _nearest(content: bytes, old: bytes) -> str:
    """Return the lines of the file that are most like those looked for."""
    lines = decoded(content[:1_000_000]).text.splitlines()[:5000]
    wanted = [line for line in decoded(old).text.splitlines() if line.strip()]
    if not wanted or not lines:
        return ""
    short = [line.strip()[:200] for line in lines]
    close = difflib.get_close_matches(wanted[0].strip()[:200], short, n=1, cutoff=0.5)
    if not close:
        return ", nor anything like it"
    begin = short.index(close[0])
    near = "\n".join(line[:300] for line in lines[begin : begin + min(10, len(wanted) + 1)])
    return f". Nearest, from line {begin + 1}:\n{near}\n"


def difference(old: bytes, new: bytes, name: str) -> str:
    """Return a unified diff, as long as a model can use it."""
    before, after = decoded(old).text.split("\n"), decoded(new).text.split("\n")
    same = _common(before, after)
    same_end = _common(before[same:][::-1], after[same:][::-1])
    begin = max(0, same - _CONTEXT)
    cut_end = max(0, same_end - _CONTEXT)
    middle = before[begin : len(before) - cut_end], after[begin : len(after) - cut_end]
    if max(map(len, middle)) > _MAX_COMPARED_LINES:
        return f"[the difference is too long to be shown; it begins at line {same + 1}]"
    diff = [
        _HUNK.sub(lambda hunk: _shifted(hunk, begin), line)[:1000]
        for line in difflib.unified_diff(*middle, f"a/{name}", f"b/{name}", lineterm="")
    ]
    if len(diff) > MAX_DIFF_LINES:
        diff[MAX_DIFF_LINES:] = [f"[{len(diff) - MAX_DIFF_LINES:,} more lines of the difference]"]
    return "\n".join(diff)


def _common(before: Sequence[str], after: Sequence[str]) -> int:
    pairs = enumerate(zip(before, after, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(before), len(after)))


def _shifted(hunk: re.Match[str], by: int) -> str:
    old, old_length, new, new_length = hunk.groups("")
    return f"@@ -{int(old) + by}{old_length} +{int(new) + by}{new_length} @@"
