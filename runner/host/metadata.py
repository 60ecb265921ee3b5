"""execution_metadata.yaml: how a run was started. Runs on: host."""

import datetime as dt
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from runner import __version__
from runner.config.child_environment import without_keys

_GIT_SECONDS = 2


class Execution(NamedTuple):
    """The facts of one start; `config` is resolved and holds references instead of secrets."""

    question: str
    config_path: str | None
    config: Mapping[str, Any]
    cli_args: Sequence[str]
    working_directory: Path
    image: str | None
    engine: str | None
    models: Mapping[str, str]


def metadata_yaml(execution: Execution, now: dt.datetime) -> str:
    """Return the file's text; both `query` and `question` are there, for old and new readers."""
    import yaml

    content = {
        "query": execution.question,
        "question": execution.question,
        "timestamp": now.isoformat(),
        "config_path": execution.config_path,
        "config": dict(execution.config),
        "cli_args": list(execution.cli_args),
        "git": git_state(execution.working_directory),
        "python_version": platform.python_version(),
        "massgen_version": __version__,
        "working_directory": str(execution.working_directory),
        "image": execution.image,
        "engine": execution.engine,
        "models": dict(execution.models),
    }
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True))


def git_state(directory: Path) -> dict[str, Any] | None:
    """Return {commit, branch, dirty} of a checkout, or None outside one and without git."""
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {
        "commit": commit,
        "branch": _git(directory, "rev-parse", "--abbrev-ref", "HEAD"),
        "dirty": bool(_git(directory, "status", "--porcelain", "--untracked-files=no")),
    }


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            env=without_keys(os.environ),
            stdin=subprocess.DEVNULL,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
