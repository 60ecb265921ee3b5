"""Search files by regular expression, in a process that can be ended. Runs on: the agent container.

A regular expression can take for ever and cannot be interrupted. So this is a program: it reads a
`Search` as JSON and prints one JSON object a line, until it is done or is killed. It imports the
standard library only, to be quick.
"""

import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from typing import Any

from runner.tools.files.globs import Globs
from runner.tools.files.walk import Entry, Walk

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_LINE_CHARS = 64 * 1024
"""Of a line, how much is searched."""
SHOWN_CHARS = 300
MAX_MATCHES = 200
_HEAD_BYTES = 8192


def main() -> int:
    """Search; an expression that is none is said as `{"error": …}`."""
    asked = json.load(sys.stdin)
    flags = re.IGNORECASE if asked["ignore_case"] else 0
    try:
        expression = re.compile(asked["pattern"], flags)
    except (re.error, OverflowError, RecursionError) as error:
        _say({"error": f"this is no regular expression: {error}"})
        return 0
    files = _Files(asked["path"], Globs(asked["exclude"]), Globs(asked["include"] or ["*"]))
    found = 0
    for entry in files:
        for number, line in _lines(files, entry):
            match = expression.search(line)
            if match is None:
                continue
            if found == MAX_MATCHES:
                _say({"note": f"there are more than {MAX_MATCHES} matching lines"})
                return 0
            found += 1
            _say({"path": entry.path, "line": number, "text": _around(line, match)})
    for note in files.notes():
        _say({"note": note})
    return 0


class _Files:
    """The regular files to search, and what was not searched."""

    def __init__(self, path: str, excluded: Globs, included: Globs) -> None:
        self._path = path
        self._walk = Walk(path, excluded)
        self._included = included
        self.binary = 0
        self.unreadable = 0
        self.long = 0

    def __iter__(self) -> Iterator[Entry]:
        if not os.path.isdir(self._path):
            yield Entry((os.path.basename(self._path),), self._path, False, True)
            return
        for entry in self._walk:
            if entry.is_file and self._included.match(entry.names):
                yield entry

    def notes(self) -> Iterator[str]:
        yield from self._walk.left_out
        if self.binary:
            yield f"{self.binary:,} binary files were not searched"
        if self.unreadable:
            yield f"{self.unreadable:,} files cannot be read"
        if self.long:
            yield f"of {self.long:,} files only the first {MAX_FILE_BYTES:,} bytes were searched"


def _lines(files: _Files, entry: Entry) -> Iterator[tuple[int, str]]:
    """Yield numbers and texts of a file's lines; nothing of what is no text file."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(entry.path, flags)
    except OSError:
        files.unreadable += 1
        return
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        if b"\0" in os.pread(descriptor, _HEAD_BYTES, 0):
            files.binary += 1
            return
        left, number, is_start = MAX_FILE_BYTES, 0, True
        while left > 0 and (data := file.readline(MAX_LINE_CHARS)):
            left -= len(data)
            if is_start:
                number += 1
                yield number, data.decode("utf-8", "replace").rstrip("\r\n")
            is_start = data.endswith(b"\n")
        files.long += left <= 0


def _around(line: str, match: re.Match[str]) -> str:
    """Return a line, or of a long one what is around the match."""
    if len(line) <= SHOWN_CHARS:
        return line
    begin = max(0, min(match.start() - SHOWN_CHARS // 3, len(line) - SHOWN_CHARS))
    end = begin + SHOWN_CHARS
    return f"{'…' if begin else ''}{line[begin:end]}{'…' if end < len(line) else ''}"


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)
