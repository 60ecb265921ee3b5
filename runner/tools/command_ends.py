"""How a command ended, in words for its agent. Runs on: the agent container."""

import re
import signal
from pathlib import Path
from typing import NamedTuple

from runner.tools.command_process import Ended

CGROUPS = Path("/sys/fs/cgroup")
NO_EXIT_CODE = -1
"""Of a command that was ended, or that did not start; as in MassGen."""
_OOM_FILES = ("memory.events", "memory/memory.oom_control")
"""Of the container's own group, in the second and the first version of control groups."""
_OOM_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class Circumstances(NamedTuple):
    """What is known about a command's end besides its exit code."""

    seconds: float
    timed_out_after: float | None = None
    """The limit in seconds, where the command was longer."""
    is_out_of_memory: bool = False
    """The kernel took a process of the container meanwhile."""
    memory_limit: str | None = None
    """The container's, in the user's words."""


def oom_kills(cgroups: Path = CGROUPS) -> int:
    """Return how many processes of this container were killed for memory; 0 where not visible."""
    for name in _OOM_FILES:
        try:
            found = _OOM_COUNT.search((cgroups / name).read_text())
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return int(found[1])
    return 0


def exit_code(ended: Ended, circumstances: Circumstances) -> int:
    """Return a command's exit code as a shell gives it: 128 and the signal for one that died."""
    if circumstances.timed_out_after is not None or ended.exit_code is None:
        return NO_EXIT_CODE
    return ended.exit_code if ended.exit_code >= 0 else 128 - ended.exit_code


def explained(ended: Ended, circumstances: Circumstances) -> str:
    """Return lines that say how a command ended."""
    lines = [f"[{_how(ended, circumstances)}]"]
    if ended.left:
        lines.append(
            f"[processes that it left behind, now ended: {ended.left}; "
            "start_background_shell is for what is to go on]"
        )
    if ended.is_output_held:
        lines.append("[a process that could not be ended holds its output: some may be missing]")
    return "\n".join(lines)


def _how(ended: Ended, circumstances: Circumstances) -> str:
    took = f"{circumstances.seconds:.1f} s"
    if circumstances.timed_out_after is not None:
        memory = _memory(circumstances) if circumstances.is_out_of_memory else ""
        return (
            f"ended: not done within its time limit of {circumstances.timed_out_after:g} s{memory}"
        )
    code = exit_code(ended, circumstances)
    if code == NO_EXIT_CODE:
        return f"ended: the process that watched over the command was killed, {took}"
    meaning = _meaning(code, circumstances)
    return f"exit code {code}{meaning and f' ({meaning})'}, {took}"


def _meaning(code: int, circumstances: Circumstances) -> str:
    if code == 127:
        return "command not found"
    if code == 126:
        return "not executable"
    if code <= 128:
        return ""
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return ""
    memory = _memory(circumstances) if code == 128 + signal.SIGKILL else ""
    return f"killed by signal {code - 128}, {name}{memory}"


def _memory(circumstances: Circumstances) -> str:
    limit = circumstances.memory_limit
    if circumstances.is_out_of_memory:
        return ": out of memory" + (f", the container's limit is {limit}" if limit else "")
    return f"; the container's memory limit is {limit}" if limit else ""
