"""Where an agent's files are, what no tool changes, and what the agent knows.

Confinement is the container's: what is not mounted cannot be reached, what is mounted read-only
cannot be changed. This is about mistakes. Runs on: the agent container.
"""

import fnmatch
import os
from pathlib import PurePath

from runner.contract.tools import ToolServerSpec
from runner.tools.calls import ToolError
from runner.tools.files.names import given, shown

_GENERATED = (
    *(".git", "__pycache__", "*.pyc", "*.pyo", ".venv", "venv", ".pytest_cache", ".mypy_cache"),
    *(".ruff_cache", ".tox", ".nox", ".coverage", "*.egg-info", "node_modules", ".next", ".nuxt"),
    *("dist", "build", ".DS_Store", "Thumbs.db", "*.log", "*.swp", "*.swo", "*~"),
)
"""Names of what programs make by themselves: deleted without having been read."""


class Places:
    """Paths of one agent, and which files it has read or made."""

    def __init__(self, spec: ToolServerSpec) -> None:
        self.workspace = spec.workspace
        self._roots = tuple(
            os.path.realpath(path) for path in (spec.workspace, spec.answers, *spec.context_paths)
        )
        protected = (os.path.join(spec.workspace, path) for path in spec.protected_paths)
        self._protected = tuple(
            real for path in protected for real in {os.path.realpath(path), entry_of(path)}
        )
        self._must_know = spec.enforce_read_before_delete
        self._known: set[str] = set()

    def path(self, text: str) -> str:
        """Return the absolute path that a model means. Raises ToolError."""
        path = given(text)
        if "\0" in path:
            raise ToolError("a path has no null characters")
        while path.startswith("./"):
            path = path[2:].lstrip("/")
        return os.path.join(self.workspace, "" if path == "." else path).rstrip("/") or "/"

    def shown(self, path: str) -> str:
        """Return a path as the model is told it: relative to the workspace where it is in it."""
        relative = path.removeprefix(f"{self.workspace.rstrip('/')}/")
        return shown(relative or ".")

    def check_writable(self, path: str) -> None:
        """Raise ToolError where a path, links followed, is protected or below what is."""
        real = os.path.realpath(path)
        if any(_is_in(real, protected) for protected in self._protected):
            raise ToolError(f"{self.shown(path)} is protected: it is not to be changed")

    def check_removable(self, path: str) -> None:
        """Raise ToolError where a path is a root or protected, or holds what is."""
        entry = entry_of(path)
        if any(_is_in(entry, protected) for protected in self._protected):
            raise ToolError(f"{self.shown(path)} is protected: it is not to be changed")
        if any(_is_in(root, entry) for root in self._roots):
            raise ToolError(f"{self.shown(path)} is the workspace or a shared directory: it stays")
        if any(_is_in(protected, entry) for protected in self._protected):
            raise ToolError(f"{self.shown(path)} holds what is protected: it is not to be changed")

    def learn(self, path: str) -> None:
        """Note that the agent has read or made a file."""
        self._known.add(os.path.realpath(path))

    def learn_moved(self, source: str, destination: str) -> None:
        """Note that what the agent knows is somewhere else; both as `entry_of` gives them."""
        moved = {path for path in self._known if _is_in(path, source)}
        self._known -= moved
        self._known |= {destination + path.removeprefix(source) for path in moved}

    def forget(self, path: str) -> None:
        """Note that a file, as `entry_of` gives it, is gone."""
        self._known.discard(path)

    def is_known(self, path: str) -> bool:
        """Tell whether the agent may delete a file: it has read or made it, or nobody has."""
        if not self._must_know or os.path.realpath(path) in self._known:
            return True
        parts = PurePath(path.removeprefix(self.workspace)).parts
        return any(fnmatch.fnmatchcase(part, name) for part in parts for name in _GENERATED)


def entry_of(path: str) -> str:
    """Return where a directory entry is: links above it are followed, it itself is not."""
    parent, name = os.path.split(path.rstrip("/") or "/")
    if name in {"", ".", ".."}:
        return os.path.realpath(path)
    return os.path.join(os.path.realpath(parent), name)


def _is_in(path: str, above: str) -> bool:
    return path == above or path.startswith(f"{above.rstrip('/')}/")
