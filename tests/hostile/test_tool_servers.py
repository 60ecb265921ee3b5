"""Agents that attack their own tool server and container. Runs on: host."""

import json

import pytest

from runner.contract.outcome import ExitCode
from tests.support.ends import assert_ended
from tests.support.engine_view import EngineView
from tests.support.massgen import Completed, Project
from tests.support.provider import Provider, Rule, Script, Text, ToolCall, ToolCalls

pytestmark = pytest.mark.docker

COMMANDS = {"cwd": "workspace", "enable_mcp_command_line": True}


def command(text: str) -> ToolCalls:
    """A reply that runs a command."""
    return ToolCalls((ToolCall("execute_command", json.dumps({"command": text})),))


def told(provider: Provider) -> list[str]:
    """Return the tool results that the model was shown in its last request."""
    messages = json.loads(provider.requests[-1].body)["messages"]
    return [message["content"] for message in messages if message["role"] == "tool"]


def played(project: Project, provider: Provider, *commands: str, **backend: object) -> Completed:
    """Return a run whose one agent runs the commands, one after the other."""
    provider.play(Script(rules=(Rule((*map(command, commands), Text("Done."))),)))
    project.write_config(provider.url, agents=("agent_a",), backend={**COMMANDS, **backend})
    return project.answer()


def test_an_agent_that_kills_everything_gets_a_new_container(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """A container whose processes are all killed is explained, made anew, and has the files."""
    done = played(project, provider, "echo kept > file; kill -9 -1", "cat file")
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    lost, after = told(provider)
    assert "container ended with exit code 137" in lost
    assert "made anew" in lost
    assert after.startswith("kept\n")
