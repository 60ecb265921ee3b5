"""`--set a.b=c`: change single values of a configuration. Runs on: host."""

from collections.abc import Sequence
from typing import Any

from runner.config.problems import KeyPath, Problem, ProblemsError, dotted
from runner.config.source import parse_text

FLAG = "--set"
MAX_LENGTH = 100_000


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> list[KeyPath]:
    """Change `data` in place, in order, and return the paths that were set.

    A part of the path is a key, a position in a list, or an agent's id. Raises ProblemsError.
    """
    problems: list[Problem] = []
    changed: list[KeyPath] = []
    for override in overrides:
        try:
            changed.append(_apply(data, override))
        except ProblemsError as error:
            problems.extend(error.problems)
    if problems:
        raise ProblemsError(*problems)
    return changed


def _apply(data: dict[str, Any], override: str) -> KeyPath:
    name, equals, text = override.partition("=")
    parts = name.strip().split(".")
    if parts[0] == "agent" and "agent" not in data:  # one agent is held as a list of one
        parts[:1] = ["agents", "0"]
    if not equals or not all(parts):
        what = "is no override (allowed: key.sub=value, agents.0.backend.temperature=0.3)"
        raise ProblemsError(Problem(FLAG, None, dotted(tuple(parts[:1])), what))
    try:
        value = _value(text)
    except ProblemsError as error:
        raise ProblemsError(
            *(p._replace(line=None, key=dotted(tuple(parts))) for p in error.problems)
        ) from error
    return _put(data, parts, value)


def _value(text: str) -> Any:
    if len(text) > MAX_LENGTH:
        what = f"has {len(text):,} characters (allowed: {MAX_LENGTH:,})"
        raise ProblemsError(Problem(FLAG, None, "", what, "write it into the file"))
    if text != text.encode("utf-8", "replace").decode("utf-8") or "\0" in text:
        raise ProblemsError(Problem(FLAG, None, "", "the value is no text"))
    is_marked = text.lstrip()[:1] in tuple("{[\"'&*!")
    try:
        value = parse_text(text, FLAG).data
    except ProblemsError:
        if is_marked:
            raise
        return text.strip()
    is_single = not isinstance(value, (dict, list))
    return value if is_single or is_marked else text.strip()  # `a: b` is text on a command line


def _put(data: dict[str, Any], parts: list[str], value: Any) -> KeyPath:
    path: KeyPath = ()
    at: Any = data
    for index, part in enumerate(parts):
        step = _step(at, part, path)
        path = (*path, step)
        if index == len(parts) - 1:
            at[step] = value
        elif isinstance(at, dict):
            at = _entered(at, part)
        else:
            at = at[step]
    return path


def _entered(at: dict[str, Any], key: str) -> Any:
    if at.get(key) is None:
        at[key] = {}
    return at[key]


def _step(at: Any, part: str, path: KeyPath) -> str | int:
    if isinstance(at, dict):
        return part
    if isinstance(at, list):
        position = _position(at, part)
        if position is not None:
            return position
        ids = [str(item.get("id")) for item in at if isinstance(item, dict) and "id" in item]
        names = f", {', '.join(ids)}" if ids else ""
        what = f"has no item {dotted((part,))} (there are: 0 to {len(at) - 1}{names})"
        raise ProblemsError(Problem(FLAG, None, dotted(path), what))
    what = f"is a single value and has no {dotted((part,))} in it"
    raise ProblemsError(Problem(FLAG, None, dotted(path), what))


def _position(at: list[Any], part: str) -> int | None:
    if part.isascii() and part.isdigit() and len(part) < 10:
        return int(part) if int(part) < len(at) else None
    for index, item in enumerate(at):
        if isinstance(item, dict) and item.get("id") == part:
            return index
    return None
