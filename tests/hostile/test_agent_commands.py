"""Agents' commands that attack their own container. Runs on: host."""

import json

import pytest

from runner.contract.outcome import ExitCode
from tests.support.ends import assert_ended
from tests.support.engine_view import EngineView
from tests.support.massgen import Project
from tests.support.provider import Provider, Rule, Script, Text, ToolCall, ToolCalls

pytestmark = [pytest.mark.docker, pytest.mark.slow]

BACKEND = {
    "cwd": "workspace",
    "enable_mcp_command_line": True,
    "command_line_docker_memory_limit": "256m",
    "command_line_env": {"KEPT": "kept in the workspace"},
}
COMMANDS = (
    "bomb() { bomb | bomb & }; bomb; sleep 600",
    'echo "$KEPT" > kept; echo alive',
    "head -c 400M /dev/zero | tail",
    "kill -9 $(cut -d' ' -f4 /proc/$PPID/stat); sleep 600",
    "cat kept",
)


def test_bombs_and_a_killed_tool_server(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """An agent that bombs its container and kills its tool server is told what came of it."""
    calls = [
        ToolCalls((ToolCall("execute_command", json.dumps({"command": text, "timeout": 8})),))
        for text in COMMANDS
    ]
    provider.play(Script(rules=(Rule((*calls, Text("Done."))),)))
    project.write_config(provider.url, agents=("agent_a",), backend=BACKEND)
    done = project.answer()
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    messages = json.loads(provider.requests[-1].body)["messages"]
    told = [message["content"] for message in messages if message["role"] == "tool"]
    forks, alive, memory, killed, kept = told
    assert "time limit of 8 s" in forks
    assert alive.startswith("alive\n")
    assert "exit code 137 (killed by signal 9, SIGKILL: out of memory" in memory
    assert "the container's limit is 256m" in memory
    assert "The call was not finished. The container has been made anew" in killed
    assert kept.startswith("kept in the workspace\n")
