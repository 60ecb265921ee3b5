"""Ranges of files of any size. Runs on: the agent container."""

import os
import re
from typing import NamedTuple

MAX_READ_BYTES = 50_000
"""Of a file, as one call returns it."""
MAX_SCAN_BYTES = 256 * 1024 * 1024
"""How far lines are counted."""
_BLOCK = 1024 * 1024
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


class TooFarError(ValueError):
    """A line lies too deep in a file to be counted to."""


class Text(NamedTuple):
    """Bytes as text."""

    text: str
    replaced: int
    """Bytes that are no UTF-8."""


def decoded(data: bytes) -> Text:
    """Return bytes as text; each byte that is no UTF-8 is replaced by U+FFFD."""
    text, replaced = _NOT_UTF8.subn("\ufffd", data.decode("utf-8", "surrogateescape"))
    return Text(text, replaced)


def read_at(descriptor: int, begin: int, size: int) -> bytes:
    """Return up to `size` bytes from `begin`; fewer only at the end of the file."""
    pieces = []
    while size > 0 and (data := os.pread(descriptor, min(size, _BLOCK), begin)):
        pieces.append(data)
        begin += len(data)
        size -= len(data)
    return b"".join(pieces)


def start_of_line(descriptor: int, line: int) -> int:
    """Return the byte at which a line begins, or the end of the file. Raises TooFarError."""
    wanted, position = line - 1, 0
    while wanted > 0 and (data := os.pread(descriptor, _BLOCK, position)):
        found = data.count(b"\n")
        if found >= wanted:
            return position + _after_newline(data, wanted)
        wanted -= found
        position += len(data)
        if position > MAX_SCAN_BYTES:
            raise TooFarError
    return position


def _after_newline(data: bytes, number: int) -> int:
    end = 0
    for _ in range(number):
        end = data.index(b"\n", end) + 1
    return end


def start_of_tail(descriptor: int, size: int, lines: int) -> int:
    """Return the byte at which the last lines begin. Raises TooFarError."""
    position, wanted = size, lines
    if size and os.pread(descriptor, 1, size - 1) == b"\n":
        wanted += 1  # the last line's own end begins no line
    while position > 0:
        begin = max(0, position - _BLOCK)
        data = read_at(descriptor, begin, position - begin)
        found = data.count(b"\n")
        if found >= wanted:
            return begin + _after_newline(data, found - wanted + 1)
        wanted -= found
        position = begin
        if size - position > MAX_SCAN_BYTES:
            raise TooFarError
    return 0


def take(descriptor: int, begin: int, lines: int | None, most: int = MAX_READ_BYTES) -> bytes:
    """Return the bytes from `begin`: at most so many lines, and at most so many bytes."""
    data = read_at(descriptor, begin, most + 1)
    if lines is not None and data.count(b"\n") >= lines:
        data = data[: _after_newline(data, lines)]
    return data if len(data) <= most else cut(data[:most])


def cut(data: bytes) -> bytes:
    """Return the whole lines at the beginning of `data`, or else its whole characters."""
    end = data.rfind(b"\n") + 1
    return data[:end] if end else _whole_characters(data)


def _whole_characters(data: bytes) -> bytes:
    for back in range(1, min(4, len(data))):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            length = 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
            return data[:-back] if length > back else data
    return data
