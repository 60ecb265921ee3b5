"""What is wrong with a configuration, and where. Runs on: host."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from runner.config.secrets import looks_secret
from runner.contract.text import one_line

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of a configuration, e.g. `("agents", 0, "id")`."""


class Problem(NamedTuple):
    """One error or warning; `str()` is the line for people."""

    file: str
    """As the user gave it; `--set` for an override, `command line` for flags."""
    line: int | None
    """From 1."""
    key: str
    """Dotted, as `--set` takes it; empty where the file as a whole is meant."""
    what: str
    """What is wrong, and what is allowed."""
    remedy: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        parts = (place, self.key, self.what, self.remedy)
        return one_line(": ".join(part for part in parts if part))

    def as_json(self) -> dict[str, str | int | None]:
        """Return the problem as the `--json` forms show it."""
        return {
            "file": self.file,
            "line": self.line,
            "key": self.key,
            "message": one_line(self.what),
            "remedy": one_line(self.remedy) or None,
        }


class ProblemsError(Exception):
    """A configuration cannot be used; `load` turns this into a ConfigurationError."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems: Sequence[Problem] = problems


class Finding(NamedTuple):
    """A problem before its place in the file is looked up."""

    path: KeyPath
    what: str
    remedy: str = ""


def dotted(path: KeyPath) -> str:
    """Return a path as it is shown and as `--set` takes it; a key that is a secret is hidden."""
    return ".".join("[redacted]" if looks_secret(str(p)) else one_line(str(p), 60) for p in path)


def shown(value: Any) -> str:
    """Return a value for a message: short, on one line, and never a secret."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if not isinstance(value, int) or abs(value) < 10**15 else "a huge number"
    if looks_secret(text):
        return "a secret"
    return f"'{one_line(text, 40)}'" if isinstance(value, str) else text


def listed(names: Sequence[str]) -> str:
    """Return names as a comma-separated list."""
    return ", ".join(names)


def nearest(name: str, known: Sequence[str]) -> str:
    """Return `did you mean 'x'?` for the closest known name, or nothing."""
    from difflib import get_close_matches

    close = get_close_matches(name[:60].lower(), known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else ""
