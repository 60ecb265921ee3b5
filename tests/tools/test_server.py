"""The tool server's side of its socket. Runs on: host."""

from pathlib import Path

from tests.support.tool_server import tool_server


def test_a_call_is_answered(tmp_path: Path) -> None:
    """A call's output comes while it runs, and its result at its end."""
    with tool_server(tmp_path) as server:
        done = server.call("execute_command", command="echo here; pwd")
    assert done.output[0].startswith("here\n")
    assert done.result.exit_code == 0
    assert str(tmp_path) in done.text


def test_an_unknown_tool_is_refused(tmp_path: Path) -> None:
    """A call of a tool that is not there says so."""
    with tool_server(tmp_path, commands=None) as server:
        done = server.call("execute_command", command="true")
    assert done.result.is_error
    assert "there is no tool 'execute_command'" in done.text


def test_calls_run_side_by_side(tmp_path: Path) -> None:
    """A call that waits keeps no other from being answered."""
    with tool_server(tmp_path) as server:
        waiting = server.begin("execute_command", command="until test -e go; do sleep 0.05; done")
        assert server.call("execute_command", command="touch go").result.exit_code == 0
        assert server.done(waiting).result.exit_code == 0


def test_the_server_ends_with_its_connection(tmp_path: Path) -> None:
    """When coordination closes the connection, the tool server ends without an error."""
    with tool_server(tmp_path) as server:
        process = server.process
        server.begin("execute_command", command="sleep 600")
        server.close()
    assert process.returncode == 0
