"""BackgroundShellManager: what the automation guide promises, and where MassGen is weak."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from massgen.filesystem_manager import background_shell
from runner.background_shell import BackgroundShellManager


@pytest.fixture
def shells() -> Iterator[BackgroundShellManager]:
    manager = BackgroundShellManager(grace_seconds=1.0)
    yield manager
    manager.cleanup_all()


def _wait(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (value := true()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


def _is_alive(pid: int) -> bool:
    """A process that nobody has reaped yet is as dead as one that is gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _ended(shells: BackgroundShellManager, shell_id: str) -> dict[str, Any]:
    _wait(lambda: shells.get_shell_status(shell_id)["status"] != "running")
    return shells.get_shell_output(shell_id)


@pytest.mark.parametrize(
    ("command", "status", "exit_code"),
    [("true", "stopped", 0), ("exit 3", "failed", 3), ("kill -9 $$", "killed", -9)],
)
def test_the_end_is_told_truthfully(
    shells: BackgroundShellManager, command: str, status: str, exit_code: int
) -> None:
    """Status and exit code agree the moment the shell is not running any more."""
    output = _ended(shells, shells.start_shell(command))

    assert (status, exit_code) == (output["status"], output["exit_code"])


def test_output_is_complete_when_the_status_says_so(shells: BackgroundShellManager) -> None:
    """No tail is lost, however fast the process ends after writing."""
    for _ in range(20):
        output = _ended(shells, shells.start_shell("seq 1 5000; echo late >&2; exit 1"))
        assert output["stdout"].splitlines()[-1] == "5000"
        assert output["stderr"] == "late\n"
        shells.cleanup_all()


def test_a_child_that_keeps_the_pipe_open_does_not_keep_the_shell_running(
    shells: BackgroundShellManager,
) -> None:
    """The shell ends with its process, not with whoever inherited its output."""
    shell_id = shells.start_shell("sleep 60 & echo $!; echo done")
    output = _ended(shells, shell_id)

    assert "done" in output["stdout"]
    os.kill(int(output["stdout"].splitlines()[0]), 9)


def test_the_last_lines_are_kept() -> None:
    """Only the newest lines of each stream stay in memory."""
    shells = BackgroundShellManager(max_output_lines=5)

    lines = _ended(shells, shells.start_shell("seq 1 100"))["stdout"].splitlines()

    assert lines == ["96", "97", "98", "99", "100"]


def test_binary_output_does_not_end_the_capture(shells: BackgroundShellManager) -> None:
    """Bytes that are no UTF-8 are replaced, and what follows is still there."""
    output = _ended(shells, shells.start_shell(r"printf 'a\377\376b\n'; echo after"))

    assert output["stdout"] == "a\ufffd\ufffdb\nafter\n"


def test_killing_ends_the_whole_process_group(shells: BackgroundShellManager) -> None:
    """Children of the shell do not survive it, not even those that ignore SIGTERM."""
    shell_id = shells.start_shell("sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done'")
    child = int(_wait(lambda: shells.get_shell_output(shell_id)["stdout"]))

    result = shells.kill_shell(shell_id)

    assert {"shell_id": shell_id, "status": "killed", "signal": "SIGTERM"} == result
    _wait(lambda: not _is_alive(child))
    assert shells.get_shell_status(shell_id)["status"] == "killed"


def test_killing_what_has_ended_says_so(shells: BackgroundShellManager) -> None:
    """Nothing is signalled; the earlier end stays the truth."""
    shell_id = shells.start_shell("exit 2")
    _ended(shells, shell_id)

    assert {
        "shell_id": shell_id,
        "status": "failed",
        "signal": None,
        "message": "Process already terminated",
    } == shells.kill_shell(shell_id)


def test_a_status_has_the_documented_fields(shells: BackgroundShellManager, tmp_path: Path) -> None:
    """Working directory and environment are as asked for."""
    shell_id = shells.start_shell("pwd; echo $COLOUR", cwd=str(tmp_path), env={"COLOUR": "blue"})
    output = _ended(shells, shell_id)
    status = shells.get_shell_status(shell_id)

    assert f"{tmp_path}\nblue\n" == output["stdout"]
    assert {
        "shell_id", "status", "exit_code", "pid", "command", "cwd", "start_time",
        "duration_seconds",
    } == set(status)  # fmt: skip
    assert round(status["duration_seconds"], 2) == status["duration_seconds"]
    assert [status] == shells.list_shells()


def test_there_is_a_limit(shells: BackgroundShellManager) -> None:
    """The eleventh shell at once is refused; ended ones do not count."""
    for _ in range(12):
        _ended(shells, shells.start_shell("true"))
    for _ in range(10):
        shells.start_shell("sleep 60")

    with pytest.raises(RuntimeError, match=r"^Maximum concurrent shells \(10\) reached$"):
        shells.start_shell("true")


def test_an_unknown_shell_is_a_key_error(shells: BackgroundShellManager) -> None:
    """As scripts written for MassGen expect."""
    for call in (shells.get_shell_output, shells.get_shell_status, shells.kill_shell):
        with pytest.raises(KeyError):
            call("shell_00000000")


def test_nothing_is_left(shells: BackgroundShellManager) -> None:
    """No zombie, no thread and no descriptor stays behind."""
    _ended(shells, shells.start_shell("true"))
    _wait(lambda: threading.active_count() == 1)
    before = len(os.listdir("/proc/self/fd"))
    ids = [shells.start_shell("echo x; sleep 60") for _ in range(5)]
    pids = [shells.get_shell_status(i)["pid"] for i in ids]

    shells.cleanup_all()

    _wait(lambda: threading.active_count() == 1)
    assert before == len(os.listdir("/proc/self/fd"))
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_the_guides_import_path_works() -> None:
    """Scripts written for the automation guide need no change."""
    shell_id = background_shell.start_shell("echo hello")
    _wait(lambda: background_shell.get_shell_status(shell_id)["status"] != "running")

    assert background_shell.get_shell_output(shell_id)["stdout"] == "hello\n"
