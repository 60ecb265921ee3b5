"""Workspaces of agents that act, on the real engine. Runs on: host."""

import json

import pytest

from runner.contract.outcome import ExitCode
from tests.support.ends import assert_ended
from tests.support.engine_view import EngineView
from tests.support.massgen import Project
from tests.support.provider import (
    Hold,
    NewAnswer,
    Provider,
    Rule,
    Script,
    Text,
    ToolCall,
    ToolCalls,
    Vote,
)

pytestmark = pytest.mark.docker

COMMANDS = {"cwd": "workspace", "enable_mcp_command_line": True}


def command(text: str) -> ToolCalls:
    """A reply that runs a command."""
    return ToolCalls((ToolCall("execute_command", json.dumps({"command": text})),))


def test_an_agent_improves_what_another_one_made(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """The second agent reads the first one's file, and the final workspace is complete."""
    answers = project.directory / ".massgen/temp_workspaces/agent1"
    provider.play(
        Script(
            rules=(
                Rule(
                    (command("echo roses > poem; ln -s /etc out"), NewAnswer("A poem.")),
                    model="model-agent_a",
                    contains="No answer exists yet",
                    last_repeats=False,
                ),
                Rule((Vote("agent2", "longer"),), model="model-agent_a"),
                Rule(
                    (
                        command(f"cp {answers}/poem poem && echo violets >> poem"),
                        command(f"touch {answers}/poem"),
                        NewAnswer("A longer poem."),
                        Vote("agent2", "longer"),
                        command("chmod 6755 poem; mkdir -p a/b; echo done > a/b/last"),
                        Text("The final poem."),
                    ),
                    model="model-agent_b",
                    contains="A poem.",
                ),
                Rule((Hold("never", Text("")),), model="model-agent_b"),
            )
        )
    )
    project.write_config(provider.url, backend=COMMANDS)
    done = project.answer()
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    log = done.log
    final = log.final("agent_b") / "workspace"
    assert (final / "poem").read_text() == "roses\nviolets\n"
    assert (final / "a/b/last").read_text() == "done\n"
    [first] = log.root.glob("agent_a/*/answer.txt")
    assert (first.parent / "workspace/poem").read_text() == "roses\n"
    assert "out: a link" in (first.parent / "workspace_skipped.txt").read_text()
    told = b"".join(request.body for request in provider.requests).decode()
    assert "Read-only file system" in told
