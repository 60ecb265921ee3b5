"""Text that agents wrote, made safe for terminals and `KEY: value` lines. Runs on: both sides."""

import re

ELLIPSIS = "..."
# Controls but for \n and \t, lone surrogates, line and paragraph separators, direction marks, and
# what is not seen at all. As one pattern: a 5 MB answer must not cost seconds.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    "\ufeff\u00ad\u2060-\u2064\U000e0000-\U000e007f]"
)
# Whole terminal sequences go, so that no "[31m" stays behind: CSI, OSC and its kin, the rest.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)


def printable(text: str) -> str:
    """Return `text` without terminal sequences, controls and direction marks; \\n and \\t stay."""
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _UNSAFE.sub("", text)


def one_line(text: str, limit: int | None = None) -> str:
    """Return `text` as one safe line, white space folded, cut to `limit` characters."""
    if limit is not None:
        text = text[: limit * 8]  # fills the line; a 5 MB answer is not scanned for a preview
    text = _ESCAPE.sub("", text)
    line = " ".join(_UNSAFE.sub(" ", text).split())
    if limit is not None and len(line) > limit:
        line = line[: limit - len(ELLIPSIS)] + ELLIPSIS
    return line


def is_plain_line(text: str) -> bool:
    """Tell whether `text` can be printed as it is: one line, no controls, no lone surrogates."""
    return _UNSAFE.search(text) is None and not set(text) & {"\n", "\t"}


def encodable(text: str) -> str:
    """Return `text` with lone surrogates replaced, so that it can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
