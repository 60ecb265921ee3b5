"""Install Debian's container engine with apt-get. Runs on: host."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runner.contract.text import one_line
from runner.errors import EngineError

PACKAGES = ("docker.io", "iptables")
POLICY = Path("/usr/sbin/policy-rc.d")
SYSTEMD = Path("/run/systemd/system")
_DENY = "#!/bin/sh\nexit 101\n"
_LAST_LINES = 3


def install_engine(say: Callable[[str], None]) -> None:
    """Install the engine's packages; raises EngineError with apt-get's last words."""
    say(f"installing {' and '.join(PACKAGES)} with apt-get (about 300 MB)")
    _apt(["update", "-q"], say)
    with _no_service_starts():
        _apt(["install", "-q", "-y", "--no-install-recommends", *PACKAGES], say)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep packages from starting services where no systemd looks after them.

    An engine that an init script started would be nobody's to stop.
    """
    if SYSTEMD.exists() or POLICY.exists():
        yield
        return
    POLICY.write_text(_DENY)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def _apt(arguments: Sequence[str], say: Callable[[str], None]) -> None:
    # The timeout: another apt-get may be at work, for example unattended upgrades.
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    last: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        for line in process.stdout or ():
            text = one_line(line, 300)
            last = [*last[1 - _LAST_LINES :], text]
            if text.startswith(("Need to get", "Setting up")):
                say(text)
    if process.returncode != 0:
        raise EngineError(
            f"`apt-get {arguments[0]}` ended with {process.returncode}: {'; '.join(last)}: "
            "install Docker or Podman by other means"
        )
