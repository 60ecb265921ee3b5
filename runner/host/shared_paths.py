"""Which of the user's files agents see, and what is hidden in them. Runs on: host.

An agent sees a context path where the user has it. Hidden under it are the runner's own directory,
with the sockets and logs of runs, and every file that credentials are read from.
"""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from runner.config.context_paths import ContextPath
from runner.errors import ConfigurationError

_SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev", "/run", "/var/run")))


class SharedPath(NamedTuple):
    """A context path as a mount."""

    target: Path
    """Absolute, as the user named it: where agents see it."""
    source: Path
    """The same without links."""
    protected: tuple[str, ...]
    """Relative paths that even the winner may not change."""
    hidden_directories: tuple[Path, ...] = ()
    """Absolute paths below `target` that are empty for agents."""
    hidden_files: tuple[Path, ...] = ()


def shared_paths(
    wanted: Sequence[ContextPath],
    *,
    cwd: Path,
    store: Path,
    secret_files: Iterable[Path],
    engine_socket: Path | None,
) -> tuple[SharedPath, ...]:
    """Return the mounts of a configuration's context paths.

    `store` is the runner's own directory here, which is made later if it is not there. Raises
    ConfigurationError for each that is missing, or that no agent may have.
    """
    problems: list[str] = []
    found: list[SharedPath] = []
    files = [path for path in secret_files if path.is_file()]
    for index, item in enumerate(wanted):
        target = cwd / Path(item.path).expanduser()
        target = Path(os.path.normpath(target))
        problem = _problem(target, store, engine_socket) or _overlap(target, found)
        if problem:
            problems.append(f"orchestrator.context_paths.{index}.path: {target}: {problem}")
            continue
        found.append(
            SharedPath(
                target=target,
                source=target.resolve(),
                protected=item.protected_paths,
                hidden_directories=tuple(_below(target, [store])),
                hidden_files=tuple(_below(target, files)),
            )
        )
    if problems:
        raise ConfigurationError(*problems)
    return tuple(found)


def _problem(target: Path, store: Path, engine_socket: Path | None) -> str:
    """Return why a path cannot be shared, or nothing."""
    try:
        mode = target.stat().st_mode
    except OSError as error:
        return f"{error.strerror}: make it, or take it out"
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        return "is no file and no directory: take it out"
    real = target.resolve()
    if real == Path("/") or any(real.is_relative_to(part) for part in _SYSTEM):
        return "belongs to the system: share a directory with the files that are needed"
    if real.is_relative_to(store.resolve()):
        return "is the runner's own: copy what is needed to another directory"
    if engine_socket is not None and engine_socket.resolve().is_relative_to(real):
        return f"holds the container engine's socket ({engine_socket}): share a smaller directory"
    return ""


def _overlap(target: Path, others: Iterable[SharedPath]) -> str:
    for other in others:
        if target.is_relative_to(other.target) or other.target.is_relative_to(target):
            return f"lies in {other.target}, or around it: keep one of the two"
    return ""


def _below(target: Path, paths: Iterable[Path]) -> list[Path]:
    """Return the paths that are seen under `target`, as they are named there."""
    real = target.resolve()
    seen = [path.resolve() for path in paths]
    return [target / path.relative_to(real) for path in seen if path.is_relative_to(real)]
