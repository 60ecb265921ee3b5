"""Text that agents wrote, made safe for terminals and `KEY: value` lines. Runs on: both sides."""

import re
import unicodedata

ELLIPSIS = "..."
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_HIDDEN = frozenset("\ufeff\u00ad\u2060\u2061\u2062\u2063\u2064") | frozenset(
    map(chr, range(0xE0000, 0xE0080))
)
_CONTROL_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Whole terminal sequences go, so that no "[31m" stays behind: CSI, OSC and its kin, the rest.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)


def _is_unsafe(char: str) -> bool:
    return char in _BIDI or char in _HIDDEN or unicodedata.category(char) in _CONTROL_CATEGORIES


def printable(text: str) -> str:
    """Return `text` without terminal sequences, controls and direction marks; \\n and \\t stay."""
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(c for c in text if c in "\n\t" or not _is_unsafe(c))


def one_line(text: str, limit: int | None = None) -> str:
    """Return `text` as one safe line, white space folded, cut to `limit` characters."""
    if limit is not None:
        text = text[
            : limit * 8
        ]  # enough to fill the line; a 5 MB answer is not scanned for a preview
    text = _ESCAPE.sub("", text)
    line = " ".join("".join(" " if _is_unsafe(c) else c for c in text).split())
    if limit is not None and len(line) > limit:
        line = line[: limit - len(ELLIPSIS)] + ELLIPSIS
    return line


def encodable(text: str) -> str:
    """Return `text` with lone surrogates replaced, so that it can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
