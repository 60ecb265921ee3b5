"""Commands that agents run in the background, in a real tool server. Runs on: host."""

import json
from pathlib import Path
from typing import Any

from runner.contract.command_tools import COMMAND_TOOLS
from runner.contract.tools import CommandSettings
from tests.support.tool_server import ToolServer, tool_server
from tests.tools.processes import DAEMON, is_running, wait_for_end


def ask(server: ToolServer, tool: str, **arguments: Any) -> dict[str, Any]:
    """Make a call whose answer is JSON."""
    done = server.call(tool, **arguments)
    assert not done.result.is_error, done.text
    answer: dict[str, Any] = json.loads(done.text)
    return answer


def start(server: ToolServer, command: str, **arguments: Any) -> str:
    """Start a command and return its shell's id."""
    return str(ask(server, "start_background_shell", command=command, **arguments)["shell_id"])


def ended(server: ToolServer, shell_id: str) -> dict[str, Any]:
    """Wait until a shell has ended; return its output."""
    pid = ask(server, "get_background_shell_status", shell_id=shell_id)["pid"]
    wait = f"while kill -0 {pid} 2>/dev/null; do sleep 0.05; done"
    server.call("execute_command", command=wait, timeout=45)
    while (found := ask(server, "get_background_shell_output", shell_id=shell_id))[
        "status"
    ] == "running":
        server.call("execute_command", command="sleep 0.1")
    return found


def test_a_shell_runs_and_ends(tmp_path: Path) -> None:
    """A shell runs beside other calls; at its end its output and exit code are there."""
    with tool_server(tmp_path) as server:
        shell_id = start(
            server, "until test -e go; do sleep 0.05; done; echo out; echo err >&2; exit 3"
        )
        assert shell_id.startswith("shell_")
        assert ask(server, "get_background_shell_status", shell_id=shell_id)["status"] == "running"
        server.call("execute_command", command="touch go")
        found = ended(server, shell_id)
    assert found == {
        "shell_id": shell_id,
        "stdout": "out\n",
        "stderr": "err\n",
        "status": "failed",
        "exit_code": 3,
    }


def test_a_status(tmp_path: Path) -> None:
    """A status says what runs where and since when, under MassGen's names."""
    (tmp_path / "inner").mkdir()
    with tool_server(tmp_path) as server:
        shell_id = start(server, "true", work_dir="inner")
        ended(server, shell_id)
        status = ask(server, "get_background_shell_status", shell_id=shell_id)
        [listed] = ask(server, "list_background_shells")["shells"]
    assert listed == status
    assert status["status"] == "stopped"
    assert status["exit_code"] == 0
    assert status["command"] == "true"
    assert status["cwd"] == f"{tmp_path}/inner"
    assert {"pid", "start_time", "duration_seconds"} <= status.keys()


def test_a_kill_ends_all(tmp_path: Path) -> None:
    """A killed shell takes along what left its session and ignores SIGTERM."""
    with tool_server(tmp_path) as server:
        shell_id = start(server, f"({DAEMON} &); cat /dev/zero > /dev/null")
        server.call("execute_command", command="until test -s pid; do sleep 0.05; done")
        killed = ask(server, "kill_background_shell", shell_id=shell_id)
        assert not is_running(tmp_path / "pid")
        again = ask(server, "kill_background_shell", shell_id=shell_id)
    assert killed == {"shell_id": shell_id, "status": "killed", "signal": "SIGTERM"}
    assert again["message"] == "Process already terminated"
    assert again["status"] == "killed"


def test_shells_end_with_the_server(tmp_path: Path) -> None:
    """When coordination closes the connection, background shells end too."""
    with tool_server(tmp_path) as server:
        start(server, f"{DAEMON} & wait")
        server.call("execute_command", command="until test -s pid; do sleep 0.05; done")
    with tool_server(tmp_path) as server:
        wait_for_end(server, tmp_path / "pid")


def test_a_turn_leaves_shells_running(tmp_path: Path) -> None:
    """A call that is cancelled ends no shell."""
    with tool_server(tmp_path) as server:
        shell_id = start(server, "sleep 600")
        number = server.begin("execute_command", command="echo up; sleep 600")
        server.hear(number, "up")
        server.cancel(number)
        assert ask(server, "get_background_shell_status", shell_id=shell_id)["status"] == "running"


def test_at_most_ten(tmp_path: Path) -> None:
    """The eleventh shell is refused until one has ended."""
    with tool_server(tmp_path) as server:
        shells = [start(server, "sleep 600") for _ in range(10)]
        refused = server.call("start_background_shell", command="true")
        assert refused.result.is_error
        assert "Maximum concurrent shells (10) reached" in refused.text
        ask(server, "kill_background_shell", shell_id=shells[0])
        start(server, "true")


def test_endless_output_is_bounded(tmp_path: Path) -> None:
    """Of what a shell prints without end, the end is kept, and it is said what is not."""
    with tool_server(tmp_path) as server:
        found = ended(server, start(server, "head -c 300M /dev/zero | tr '\\0' x; echo last"))
        status = Path(f"/proc/{server.process.pid}/status").read_text()
    assert found["stdout"].endswith("xlast\n")
    assert "earlier bytes are not kept" in found["stdout"]
    assert len(found["stdout"]) < 25_000
    assert int(status.partition("VmHWM:")[2].split()[0]) < 200 * 1024


def test_what_cannot_be_started(tmp_path: Path) -> None:
    """A wrong directory, a refused command and an unknown shell are said to be so."""
    with tool_server(tmp_path, commands=CommandSettings(blocked_patterns=("rm",))) as server:
        missing = server.call("start_background_shell", command="true", work_dir="missing")
        refused = server.call("start_background_shell", command="rm x")
        unknown = server.call("get_background_shell_output", shell_id="shell_0")
    assert missing.text == f"working directory does not exist: {tmp_path}/missing"
    assert refused.text == "command matches blocked pattern: 'rm'"
    assert "there is no background shell 'shell_0'" in unknown.text
    assert missing.result.is_error
    assert refused.result.is_error
    assert unknown.result.is_error


def test_every_tool_that_is_offered_is_there(tmp_path: Path) -> None:
    """Each tool that models are told of is one that the tool server has."""
    with tool_server(tmp_path) as server:
        for tool in COMMAND_TOOLS:
            assert "there is no tool" not in server.call(tool.name, wrong=1).text
