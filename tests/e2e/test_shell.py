"""`massgen-runner shell`: a look into an agent's container while its run goes on. Runs on: host."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.massgen import BIN, Project, Running
from tests.support.provider import Provider, Rule, Script, Silence, ToolCall, ToolCalls

pytestmark = pytest.mark.docker


@pytest.fixture
def acting(project: Project, provider: Provider) -> Iterator[Running]:
    """A run whose agent has made a file and now thinks."""
    made = ToolCall("execute_command", json.dumps({"command": "echo inside > made"}))
    provider.play(Script(rules=(Rule((ToolCalls((made,)), Silence())),)))
    backend = {"cwd": "w", "enable_mcp_command_line": True}
    patient = {"stall_timeout_seconds": 300}
    project.write_config(provider.url, agents=("agent_a",), backend=backend, runner=patient)
    with project.ask() as running:
        running.wait_until(lambda: len(provider.requests) == 2)
        yield running
        running.send(signal.SIGTERM)
        running.finish()


def test_a_command(project: Project, acting: Running) -> None:
    """Its output comes out, its exit code is the command's, and it sees the agent's workspace."""
    run_id = acting.wait_run_id()
    script = "cat made; echo problem >&2; exit 7"
    done = project.massgen(
        "shell", run_id, "agent_a", "--", "sh", "-c", script, program="massgen-runner"
    )
    assert (done.exit_code, done.stdout, done.stderr) == (7, "inside\n", "problem\n")


def test_a_shell_on_a_terminal(project: Project, acting: Running) -> None:
    """On a terminal the shell has one too, and ends when the person leaves."""
    run_id = acting.wait_run_id()
    outer, inner = pty.openpty()
    command = [str(BIN / "massgen-runner"), "shell", run_id, "agent_a"]
    with subprocess.Popen(
        command,
        cwd=project.directory,
        env=project.environment,
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    ) as process:
        os.close(inner)
        os.write(outer, b"test -t 0 && echo has-a-$((40 + 2))-terminal; cat made; exit 3\n")
        seen = _read_to_end(outer)
        assert process.wait(30) == 3
    assert b"has-a-42-terminal" in seen
    assert b"inside" in seen


def _read_to_end(terminal: int) -> bytes:
    seen = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            return seen
        if not piece:
            return seen
        seen += piece


@pytest.mark.parametrize("agent", ["agent_b", "../x", "\x1b[31m"])
def test_an_agent_that_is_not_there(project: Project, acting: Running, agent: str) -> None:
    """It is an error that names the agents there are, in one line."""
    run_id = acting.wait_run_id()
    done = project.massgen("shell", run_id, agent, program="massgen-runner")
    assert done.exit_code == 1
    assert "is no agent of" in done.stderr
    assert "it has agent_a" in done.stderr
    assert "\x1b" not in done.stderr
