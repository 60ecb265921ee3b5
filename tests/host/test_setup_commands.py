"""Commands that set a machine up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.errors import EngineError
from runner.host.setup_commands import run_command


def test_lines_are_heard_as_they_come_and_made_safe() -> None:
    """Progress is one safe line at a time."""
    heard: list[str] = []

    run_command(["sh", "-c", r"printf 'one\n\033[31mtwo\n'; echo three >&2"], heard.append)

    assert heard == ["one", "two", "three"]


def test_a_failure_says_its_last_words() -> None:
    """The error has the exit code and the end of the output."""
    with pytest.raises(EngineError, match=r"ended with 3: 3; 4; 5; no space"):
        run_command(["sh", "-c", "seq 1 5; echo no space; exit 3"], lambda _: None)


def test_an_interrupt_ends_everything_that_was_started(tmp_path: Path) -> None:
    """Ctrl-C takes the command's children along."""
    script = (
        "import sys; from runner.host.setup_commands import run_command\n"
        f"run_command(['sh', '-c', 'sleep 61 & echo $! > {tmp_path}/pid; echo up; wait'],"
        " lambda line: print(line, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/exe").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(OSError, match=str(pid)):
        os.readlink(f"/proc/{pid}/exe")
