"""Commands that agents run, in a real tool server. Runs on: host."""

import os
from pathlib import Path

import pytest

from runner.contract.tools import CommandSettings
from tests.support.tool_server import Done, tool_server
from tests.tools.processes import DAEMON, is_running, wait_for_end


def run(workspace: Path, command: str, **arguments: object) -> Done:
    """Run one command in a tool server of its own."""
    with tool_server(workspace) as server:
        return server.call("execute_command", command=command, **arguments)


def test_output_comes_in_order(tmp_path: Path) -> None:
    """Output and errors stand in the order in which they were printed, before the exit code."""
    done = run(tmp_path, "echo one; echo two >&2; echo three; exit 3")
    assert done.text.startswith("one\ntwo\nthree\n")
    assert "[exit code 3, " in done.text
    assert done.result.exit_code == 3
    assert done.result.is_error


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("no-such-program", 127, "command not found"),
        ("touch it; ./it", 126, "not executable"),
        ("kill -SEGV $$", 139, "killed by signal 11, SIGSEGV"),
        ("sh -c 'kill -9 $$'", 137, "killed by signal 9, SIGKILL"),
        ("exit 200", 200, "exit code 200, "),
    ],
)
def test_an_end_is_explained(tmp_path: Path, command: str, code: int, said: str) -> None:
    """An exit code comes with what it means."""
    done = run(tmp_path, command)
    assert done.result.exit_code == code
    assert said in done.text


def test_a_kill_names_the_memory_limit(tmp_path: Path) -> None:
    """Where the container's memory cannot be asked for, SIGKILL is shown with the limit."""
    with tool_server(tmp_path, commands=CommandSettings(memory_limit="1g")) as server:
        done = server.call("execute_command", command="sh -c 'kill -9 $$'")
    assert "SIGKILL; the container's memory limit is 1g" in done.text


def test_a_working_directory(tmp_path: Path) -> None:
    """A working directory is taken from the workspace, or absolute."""
    inner = tmp_path / "inner"
    inner.mkdir()
    with tool_server(tmp_path) as server:
        for work_dir, expected in ((None, tmp_path), ("inner", inner), (str(inner), inner)):
            done = server.call("execute_command", command="pwd", work_dir=work_dir)
            assert done.text.startswith(f"{expected}\n")


def test_a_wrong_working_directory(tmp_path: Path) -> None:
    """A working directory that is none is named."""
    (tmp_path / "file").touch()
    with tool_server(tmp_path) as server:
        missing = server.call("execute_command", command="pwd", work_dir="missing")
        file = server.call("execute_command", command="pwd", work_dir="file")
    assert missing.text == f"working directory does not exist: {tmp_path}/missing"
    assert file.text == f"working directory is not a directory: {tmp_path}/file"
    assert missing.result.is_error
    assert missing.result.exit_code is None


@pytest.mark.parametrize("command", ["echo a\0b", "true " + "x" * 200_000])
def test_a_command_that_cannot_be(tmp_path: Path, command: str) -> None:
    """A command that no shell can be given is refused, and the next one runs."""
    with tool_server(tmp_path) as server:
        done = server.call("execute_command", command=command)
        assert done.result.is_error
        assert server.call("execute_command", command="echo next").text.startswith("next\n")


def test_the_environment(tmp_path: Path) -> None:
    """Commands get the agent's variables, an empty input, and nothing of the tool server's own."""
    settings = CommandSettings(environment={"COLOUR": "blue", "LANG": "C"})
    with tool_server(tmp_path, commands=settings) as server:
        done = server.call("execute_command", command="cat; env")
    lines = done.text.splitlines()
    assert {"COLOUR=blue", "LANG=C", f"HOME={os.environ['HOME']}"} <= set(lines)
    assert "RUNNER_TOOLS_" not in done.text


def test_a_virtual_environment(tmp_path: Path) -> None:
    """A .venv in the working directory comes first, as in MassGen."""
    program = tmp_path / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho its own\n")
    program.chmod(0o755)
    assert run(tmp_path, "python").text.startswith("its own\n")


def test_signals_have_their_default(tmp_path: Path) -> None:
    """A writer whose reader has gone dies of SIGPIPE, as on a terminal."""
    done = run(tmp_path, "(yes; echo $? > code) | head -1; cat code")
    assert done.text.startswith("y\n141\n")


def test_a_time_limit(tmp_path: Path) -> None:
    """A command that is not done in time is ended, and what it printed until then is shown."""
    done = run(tmp_path, "echo begun; sleep 600", timeout=1)
    assert done.text == "begun\n\n[ended: not done within its time limit of 1 s]"
    assert done.result.exit_code == -1


def test_the_default_time_limit(tmp_path: Path) -> None:
    """A command that names no time limit gets the agent's."""
    with tool_server(tmp_path, commands=CommandSettings(timeout_seconds=0.5)) as server:
        assert "time limit of 0.5 s" in server.call("execute_command", command="sleep 600").text


@pytest.mark.parametrize(
    "command",
    [
        "trap '' TERM INT HUP; echo $$ > pid; while :; do sleep 0.2; done",
        f"{DAEMON} & sleep 600",
        f"({DAEMON} &) & sleep 600",
        f"({DAEMON} >/dev/null 2>&1 &) & trap '' TERM; while :; do sleep 1; done",
    ],
    ids=["ignores-sigterm", "own-session", "double-fork", "closed-output"],
)
def test_nothing_outlives_its_time_limit(tmp_path: Path, command: str) -> None:
    """What a command started is ended with it: in a session of its own, forked twice, unwilling."""
    done = run(tmp_path, command, timeout=2)
    assert "time limit" in done.text
    assert (tmp_path / "pid").exists()
    assert not is_running(tmp_path / "pid")


def test_what_is_left_behind_is_ended(tmp_path: Path) -> None:
    """A command's end ends what it left behind, which holds its output open, and says so."""
    done = run(tmp_path, f"({DAEMON} &) ; until test -s pid; do sleep 0.05; done; echo done")
    assert done.result.exit_code == 0
    assert done.text.startswith("done\n")
    assert "[processes that it left behind, now ended: " in done.text
    assert not is_running(tmp_path / "pid")


def test_a_cancelled_command_is_ended(tmp_path: Path) -> None:
    """A command that nobody waits for any more is ended with all that it started."""
    with tool_server(tmp_path) as server:
        number = server.begin("execute_command", command=f"{DAEMON} & sleep 1; echo up; wait")
        server.hear(number, "up")
        server.cancel(number)
        wait_for_end(server, tmp_path / "pid")


def test_the_end_of_the_server_ends_its_commands(tmp_path: Path) -> None:
    """A tool server that is killed takes its commands along, wherever they have gone."""
    with tool_server(tmp_path) as server:
        number = server.begin("execute_command", command=f"{DAEMON} & sleep 1; echo up; wait")
        server.hear(number, "up")
        server.process.kill()
        server.process.wait()
    with tool_server(tmp_path) as server:
        wait_for_end(server, tmp_path / "pid")


def test_a_killed_keeper(tmp_path: Path) -> None:
    """A command that kills what watches over it is ended, and the tool server goes on.

    One that does so before its process id has been told lives until the container ends.
    """
    with tool_server(tmp_path) as server:
        done = server.call(
            "execute_command", command="echo $$ > pid; sleep 1; kill -9 $PPID; sleep 600"
        )
        assert "the process that watched over the command was killed" in done.text
        wait_for_end(server, tmp_path / "pid")


def test_long_output_is_cut_in_the_middle(tmp_path: Path) -> None:
    """Beginning and end of a long output are shown, and the whole is in a file that is named."""
    with tool_server(tmp_path) as server:
        done = server.call("execute_command", command="seq 100000")
        path = done.text.partition(" are in ")[2].split()[0]
        whole = server.call("execute_command", command=f"seq 100000 | cmp - {path} && echo same")
    assert done.text.startswith("1\n2\n")
    assert "\n100000\n" in done.text
    assert len(done.text) < 45_000
    assert whole.text.startswith("same\n")


def test_endless_output_costs_little(tmp_path: Path) -> None:
    """Gigabytes of output take neither memory nor disk, and few frames."""
    with tool_server(tmp_path) as server:
        done = server.call("execute_command", command="head -c 10G /dev/zero", timeout=50)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        path = Path(done.text.partition(" are in ")[2].split()[0])
        assert path.stat().st_size == 16 * 1024 * 1024
    peak_kib = int(status.partition("VmHWM:")[2].split()[0])
    assert peak_kib < 200 * 1024
    assert sum(map(len, done.output)) < 2 * 1024 * 1024
    assert len(done.output) < 2000


def test_binary_output(tmp_path: Path) -> None:
    """Bytes that are no text and terminal sequences do no harm."""
    done = run(tmp_path, r"printf 'a\377b\033[31mred\033[0m\000c\n'")
    assert done.text.startswith("a\ufffdbredc\n")


def test_a_fork_bomb_is_ended(tmp_path: Path) -> None:
    """Processes that multiply are ended within their time limit."""
    bomb = "echo x >> forks; test $(wc -l < forks) -gt 60 || { sh bomb & sh bomb & }; sleep 600"
    (tmp_path / "bomb").write_text(f"trap '' TERM; echo $$ >> pids; {bomb}\n")
    done = run(tmp_path, "sh bomb", timeout=2)
    assert "time limit" in done.text
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) > 20
    assert not [pid for pid in pids if Path("/proc", pid).exists()]


def test_allowed_patterns(tmp_path: Path) -> None:
    """A command that no allowed pattern matches from its beginning is refused with the patterns."""
    settings = CommandSettings(allowed_patterns=("echo .*", "ls"))
    with tool_server(tmp_path, commands=settings) as server:
        refused = server.call("execute_command", command="true; echo here")
        assert server.call("execute_command", command="echo here").result.exit_code == 0
    assert refused.text == "command not in allowed list; allowed patterns: echo .*, ls"
    assert refused.result.is_error


def test_blocked_patterns(tmp_path: Path) -> None:
    """A command that a blocked pattern matches is refused with the pattern."""
    with tool_server(tmp_path, commands=CommandSettings(blocked_patterns=("rm .*",))) as server:
        refused = server.call("execute_command", command="rm -rf x")
        assert server.call("execute_command", command="echo rm x").result.exit_code == 0
    assert refused.text == "command matches blocked pattern: 'rm .*'"
