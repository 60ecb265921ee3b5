"""Where and under which rules commands run. Runs on: the agent container."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from runner.contract.tools import CommandSettings
from runner.tools.calls import ToolError
from runner.tools.command_process import Order

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN = "RUNNER_TOOLS_"
"""Variables of the tool server itself."""


def order(settings: CommandSettings, workspace: Path, command: str, work_dir: str | None) -> Order:
    """Return what is to run. Raises ToolError for a command that is not allowed."""
    check_patterns(settings, command)
    directory = workspace / (work_dir or "")
    return Order(command, directory, environment(os.environ, settings.environment, directory))


def check_patterns(settings: CommandSettings, command: str) -> None:
    """Refuse what the patterns refuse, which match from a command's beginning, as in MassGen.

    Guidance for an agent that means well, no security: a shell finds many ways. Raises ToolError.
    """
    allowed = settings.allowed_patterns
    if allowed and not any(re.match(pattern, command) for pattern in allowed):
        raise ToolError(f"command not in allowed list; allowed patterns: {', '.join(allowed)}")
    for pattern in settings.blocked_patterns:
        if re.match(pattern, command):
            raise ToolError(f"command matches blocked pattern: {pattern!r}")


def environment(
    given: Mapping[str, str], settings: Mapping[str, str], directory: Path
) -> dict[str, str]:
    """Return a command's environment: the container's, the agent's, a .venv beside it first."""
    own = {name: value for name, value in given.items() if not name.startswith(_OWN)}
    merged = {"PATH": _PATH, "HOME": "/tmp", "LANG": "C.UTF-8", **own, **settings}  # noqa: S108
    venv = directory / ".venv"
    if (venv / "bin").is_dir():
        merged |= {"VIRTUAL_ENV": str(venv), "PATH": f"{venv}/bin:{merged['PATH']}"}
    return merged
