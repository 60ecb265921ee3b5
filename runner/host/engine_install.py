"""Install Debian's container engine with apt-get. Runs on: host."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.host.setup_commands import Say, install_packages

PACKAGES = ("docker.io", "iptables")
POLICY = Path("/usr/sbin/policy-rc.d")
SYSTEMD = Path("/run/systemd/system")
_DENY = "#!/bin/sh\nexit 101\n"


def install_engine(say: Say) -> None:
    """Install the engine's packages; raises EngineError with apt-get's last words."""
    say(f"installing {' and '.join(PACKAGES)} with apt-get (about 300 MB)")
    with _no_service_starts():
        install_packages(PACKAGES, say)


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
