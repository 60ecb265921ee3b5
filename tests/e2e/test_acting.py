"""Agents that act, each in a container of its own. Runs on: host."""

import json

import pytest

from runner.contract.outcome import ExitCode
from tests.support.ends import assert_ended
from tests.support.engine_view import EngineView
from tests.support.massgen import Project
from tests.support.provider import Provider, Rule, Script, Text, ToolCall, ToolCalls

pytestmark = pytest.mark.docker

COMMANDS = {"cwd": "workspace", "enable_mcp_command_line": True}


def command(text: str) -> ToolCalls:
    """A reply that runs a command."""
    return ToolCalls((ToolCall("execute_command", json.dumps({"command": text})),))


def test_a_command_runs_in_a_container_of_the_agent(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """A command's output comes back to the model, and what it wrote is in the agent's workspace."""
    provider.play(
        Script(
            rules=(
                Rule(
                    (command("id -u; echo made > here; pwd"), Text("Done.")),
                ),
            )
        )
    )
    project.write_config(provider.url, agents=("agent_a",), backend=COMMANDS)
    done = project.answer()
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    [workspace] = project.directory.glob(".massgen/workspaces/workspace_*")
    assert (workspace / "here").read_text() == "made\n"
    told = provider.requests[-1].body.decode()
    assert str(workspace) in told
    assert "exit code 0" in told
