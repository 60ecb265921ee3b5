"""Processes that outlive their starter."""

import os
import signal
import sys
from pathlib import Path

from runner.detached import Detached
from tests.local_model.waiting import wait_until


def start(tmp_path: Path, code: str) -> Detached:
    """Start Python with `code`."""
    return Detached.start([sys.executable, "-c", code], tmp_path / "log", {"A": "b"})


def test_process_has_its_own_session_environment_and_log(tmp_path: Path) -> None:
    """Output goes to the log, and neither terminal nor environment of the starter are there."""
    code = (
        "import os, sys; print(sorted(os.environ.items())[:1], os.getsid(0) == os.getpid()); "
        "sys.stderr.write('more'); sys.exit(7)"
    )
    process = start(tmp_path, code)
    wait_until(lambda: process.poll() is not None, "it ends", 30)
    assert process.poll() == 7
    assert (tmp_path / "log").read_text() == "[('A', 'b')] True\nmore"


def test_end_kills_what_does_not_listen(tmp_path: Path) -> None:
    """A process that ignores the request to end is killed, and collected."""
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('ready', flush=True); time.sleep(600)"
    )
    process = start(tmp_path, code)
    wait_until(lambda: (tmp_path / "log").read_text() == "ready\n", "it is ready", 30)
    process.end(patience_seconds=0.1)
    assert process.poll() == -signal.SIGKILL
    assert not Path(f"/proc/{process.pid}").exists()


def test_ended_process_stays_ended(tmp_path: Path) -> None:
    """Ending it again signals nobody, also when its number belongs to another by then."""
    process = start(tmp_path, "pass")
    wait_until(lambda: process.poll() is not None, "it ends", 30)
    process.pid = os.getpid()
    process.end()
    assert process.poll() == 0
