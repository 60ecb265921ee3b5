"""Long commands that set a machine up, their output followed line by line. Runs on: host."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from runner.config.child_environment import without_keys
from runner.contract.text import one_line
from runner.errors import EngineError

Say = Callable[[str], None]

_LINE_CHARS = 300
_LAST_LINES = 4
_END_SECONDS = 10.0
# Another apt-get may be at work, for example unattended upgrades.
_APT = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300")


def search_path() -> str:
    """Return PATH with the directories of root's programs, which su may have left out."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def run_command(command: Sequence[str], heard: Callable[[str], None]) -> None:
    """Run a command and pass each line that it prints to `heard`, made safe.

    An interrupt ends the command and everything it has started. Raises EngineError with its last
    lines where it fails.
    """
    last: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # a group of its own, to be ended as a whole
        env=without_keys(os.environ) | _ENVIRONMENT | {"PATH": search_path()},
    ) as process:
        try:
            for line in process.stdout or ():
                text = one_line(line, _LINE_CHARS)
                last = [*last[1 - _LAST_LINES :], text]
                heard(text)
        except BaseException:
            _end_group(process)
            raise
    if process.returncode != 0:
        shown = " ".join((Path(command[0]).name, *(Path(c).name for c in command[-1:])))
        raise EngineError(f"`{shown}` ended with {process.returncode}: {'; '.join(last)}")


_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def _end_group(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def install_packages(packages: Sequence[str], say: Say) -> None:
    """Install Debian packages with apt-get, as root; raises EngineError with its last words."""

    def heard(line: str) -> None:
        if line.startswith(("Need to get", "Setting up")):
            say(line)

    run_command([*_APT, "update"], heard)
    run_command([*_APT, "install", "-y", "--no-install-recommends", *packages], heard)
