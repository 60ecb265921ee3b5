"""Names of files as a model sees and gives them. Runs on: the agent container.

A name with control characters, direction marks or bytes that are no UTF-8 is shown as a shell
would quote it, `$'a\\nb'`, and is taken in that form too, as any part of a path.
"""

import os
import re

from runner.contract.text import is_plain_line

_QUOTED = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b"}
_ESCAPED = {value: f"\\{key}" for key, value in _LETTERS.items()} | {"\\": "\\\\", "'": "\\'"}


def shown(path: str) -> str:
    """Return a path, bytes that are no UTF-8 as Python keeps them, as one line of text."""
    return "/".join(map(_shown_part, path.split("/")))


def given(path: str) -> str:
    """Return the path that a model means; the inverse of `shown`."""
    return "/".join(map(_given_part, path.split("/")))


def _shown_part(name: str) -> str:
    if is_plain_line(name) and not _QUOTED.fullmatch(name):
        return name
    return f"$'{''.join(map(_escaped, name))}'"


def _escaped(character: str) -> str:
    if character in _ESCAPED:
        return _ESCAPED[character]
    if is_plain_line(character):
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _given_part(name: str) -> str:
    quoted = _QUOTED.fullmatch(name)
    if quoted is None:
        return name
    raw = b""
    end = 0
    for escape in _ESCAPE.finditer(quoted[1]):
        raw += _encoded(quoted[1][end : escape.start()]) + _byte_or_character(escape)
        end = escape.end()
    return os.fsdecode(raw + _encoded(quoted[1][end:]))


def _byte_or_character(escape: re.Match[str]) -> bytes:
    byte, short, long, letter = escape.groups()
    if byte is not None:
        return bytes([int(byte, 16)])
    if letter is not None:
        return _encoded(_LETTERS.get(letter, letter))
    code = int(short or long, 16)
    return _encoded(chr(code)) if code <= 0x10FFFF else b"?"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
