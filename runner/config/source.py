"""A configuration file to plain data, each value with its line. Runs on: host."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

from runner.config.problems import Problem, ProblemsError
from runner.config.secrets import redact
from runner.config.tree import Document, TreeBuilder

MAX_BYTES = 1024 * 1024
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE_PAIR = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
)


def parse_file(path: Path, shown: str) -> Document:
    """Return the mapping in a YAML or JSON file; `shown` names it in errors.

    Raises ProblemsError. A FIFO, a device or a directory is refused without waiting for it.
    """
    document = parse_text(decode(read_file(path, shown), shown), shown)
    if document.data is None:
        remedy = 'write at least agents: with id and backend, or see "massgen --list-examples"'
        raise ProblemsError(Problem(shown, None, "", "is empty", remedy))
    if not isinstance(document.data, dict):
        kind = "a list" if isinstance(document.data, list) else "a single value"
        what = f"is {kind}, not a mapping of keys such as agents:"
        raise ProblemsError(Problem(shown, 1, "", what))
    return document


def read_file(path: Path, shown: str) -> bytes:
    """Return the bytes of a regular file of at most `MAX_BYTES`. Raises ProblemsError."""
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ProblemsError(_unreadable(shown, error)) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise ProblemsError(Problem(shown, None, "", f"is {kind}", "name a YAML file"))
        if status.st_size > MAX_BYTES:
            raise ProblemsError(_too_large(shown, status.st_size))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ProblemsError(_unreadable(shown, error)) from error
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise ProblemsError(_too_large(shown, len(content)))
    return content


def _too_large(shown: str, size: int) -> Problem:
    what = f"has {size:,} bytes (allowed: {MAX_BYTES:,})"
    return Problem(shown, None, "", what, "is this a configuration?")


def _unreadable(shown: str, error: Exception) -> Problem:
    if isinstance(error, FileNotFoundError):
        remedy = 'check the path; "massgen --list-examples" shows the packaged ones'
        return Problem(shown, None, "", "there is no such file", remedy)
    reason = error.strerror if isinstance(error, OSError) else "the path has a NUL in it"
    return Problem(shown, None, "", f"cannot be read: {reason}")


def decode(content: bytes, shown: str) -> str:
    """Return UTF-8 bytes as text, with or without a byte order mark. Raises ProblemsError."""
    if content.startswith(_UTF16):
        raise ProblemsError(Problem(shown, 1, "", "is UTF-16", "save it as UTF-8"))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        what = f"byte 0x{content[error.start]:02x} is no UTF-8"
        raise ProblemsError(Problem(shown, line, "", what, "save the file as UTF-8")) from error
    match = _FORBIDDEN.search(text)
    if match:
        line = text.count("\n", 0, match.start()) + 1
        what = f"the control character U+{ord(match[0]):04X} is not allowed"
        raise ProblemsError(Problem(shown, line, "", what, "take it out"))
    return text


def parse_text(text: str, shown: str) -> Document:
    """Return what one YAML or JSON document says; None for an empty one. Raises ProblemsError."""
    is_json = _is_json(text)
    builder = TreeBuilder(shown, json_numbers=is_json)
    try:
        for event in yaml.parse(_as_yaml(text) if is_json else text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise ProblemsError(_syntax_problem(error, text, shown)) from error
    return builder.document()


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _as_yaml(text: str) -> str:
    """Return JSON so that a YAML 1.1 parser reads the same: no tabs, no surrogate pairs."""

    def joined(match: re.Match[str]) -> str:
        high, low = int(match[2], 16), int(match[3], 16)
        char = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
        return f"{match[1]}\\U{char:08x}"

    return _SURROGATE_PAIR.sub(joined, text.replace("\t", " "))


def _syntax_problem(error: yaml.YAMLError, text: str, shown: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else None
    what = getattr(error, "problem", None) or "cannot be parsed"
    context = getattr(error, "context", None)
    return Problem(
        shown,
        line,
        "",
        redact(f"is no valid YAML: {what}" + (f" {context}" if context else "")),
        _syntax_remedy(text, line, what),
    )


def _syntax_remedy(text: str, line: int | None, what: str) -> str:
    lines = text.split("\n")
    at = lines[line - 1] if line is not None and line <= len(lines) else ""
    indent = at[: len(at) - len(at.lstrip())]
    if "\t" in indent or "'\\t'" in what:
        return "indent with spaces, not with tabs"
    if "mapping values" in what:
        return 'put a text with ": " in it in quotes'
    return ""
