"""Agents that act, each in a container of its own. Runs on: host."""

import json

import pytest

from runner.contract.outcome import ExitCode
from tests.support.ends import assert_ended
from tests.support.engine_view import EngineView
from tests.support.massgen import Project
from tests.support.provider import Provider, Reply, Rule, Script, Text, ToolCall, ToolCalls

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


def test_an_agent_works_on_files(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """An agent writes, reads, edits and searches files; they are in its workspace afterwards."""

    def call(tool: str, **arguments: object) -> ToolCalls:
        return ToolCalls((ToolCall(tool, json.dumps(arguments)),))

    steps = (
        call("write_file", path="notes/plan.md", content="first\nsecond\n"),
        call("read_text_file", path="notes/plan.md"),
        call("edit_file", path="notes/plan.md", edits=[{"oldText": "second", "newText": "2nd"}]),
        call("search_in_files", pattern="2n."),
        call("write_file", path="/usr/made", content="x"),
        Text("Done."),
    )
    provider.play(Script(rules=(Rule(steps),)))
    backend = {"cwd": "workspace", "exclude_tools": ["delete_file"]}
    project.write_config(provider.url, agents=("agent_a",), backend=backend)
    done = project.answer()
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    [workspace] = project.directory.glob(".massgen/workspaces/workspace_*")
    assert (workspace / "notes" / "plan.md").read_text() == "first\n2nd\n"
    asked = json.loads(provider.requests[-1].body)
    results = [item["content"] for item in asked["messages"] if item["role"] == "tool"]
    assert results[1] == "first\nsecond\n"
    assert "-second\n+2nd" in results[2]
    assert results[3] == "notes/plan.md\n     2: 2nd"
    assert results[4] == "Error: Read-only file system"
    offered = {tool["function"]["name"] for tool in asked["tools"]}
    assert "write_file" in offered
    assert "delete_file" not in offered


LOOKS = """
cat notes/a.txt
echo more > notes/a.txt
cat .env; ls -A .massgen
python3 - <<'END'
import os, urllib.request
print(urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/models").read().decode())
END
"""


def test_what_an_agent_sees_of_the_users_files(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """A shared directory is readable and no more; keys and the runner's own files stay hidden."""
    (project.directory / "notes").mkdir()
    (project.directory / "notes" / "a.txt").write_text("a note\n")
    (project.directory / ".env").write_text("OTHER=planted-secret\n")
    looks = command(f"cd {project.directory}\n{LOOKS}")
    provider.play(Script(rules=(Rule((looks, Text("Done."))),)))
    project.write_config(
        provider.url,
        agents=("agent_a",),
        backend=COMMANDS,
        orchestrator={"context_paths": [{"path": "."}]},
    )
    done = project.answer()
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    told = json.loads(provider.requests[-1].body)["messages"][-1]["content"]
    assert "a note" in told
    assert "Read-only file system" in told
    assert "planted-secret" not in told
    assert '"id": "model-agent_a"' in told
    assert "runs" not in told
    assert (project.directory / "notes" / "a.txt").read_text() == "a note\n"


FILLING = "i=0; while :; do i=$((i + 1)); head -c 4M /dev/zero > part$i; sleep 0.05; done"


def test_an_agent_that_fills_its_workspace_is_told(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """Its container is ended and the reason told; the next one tidies up; a third is not made."""
    steps: tuple[Reply, ...] = (
        command("head -c 200M /dev/zero > big; echo code $?; rm big"),
        command(FILLING),
        command("rm part*; echo left: $(ls -A | wc -l)"),
        command(FILLING),
        *(command(f"echo {number}") for number in range(6)),
        Text("Done."),
    )
    provider.play(Script(rules=(Rule(steps),)))
    project.write_config(
        provider.url, agents=("agent_a",), backend=COMMANDS, runner={"disk": "64m"}
    )
    done = project.answer()
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    asked = json.loads(provider.requests[-1].body)
    results = [item["content"] for item in asked["messages"] if item["role"] == "tool"]
    assert "code 153" in results[0]
    assert "its workspace holds more than runner.disk allows (64m)" in results[1]
    assert "left: 0" in results[2]
    refusal = "it was ended 2 times for that, and is not made anew"
    assert [refusal in result for result in results[3:]] == [True] * 7
