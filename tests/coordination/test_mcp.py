"""Agents with tools of MCP servers, which only their tool servers know. Runs on: host."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.contract.status import AgentErrorType
from runner.contract.tools import McpServerSpec
from tests.coordination.conftest import Run
from tests.coordination.test_acting import DIALECTS, play, results, tools
from tests.support import odd_mcp_server
from tests.support.provider import NewAnswer, Provider, ToolCall, ToolCalls
from tests.support.workshop import Workshop

ODD = McpServerSpec(
    name="odd",
    command=sys.executable,
    args=(odd_mcp_server.__file__,),
    allowed_tools=("echo", "bomb"),
)


@pytest.fixture
def workshop(tmp_path: Path, models: Provider) -> Iterator[Workshop]:
    """Real tool servers with an MCP server."""
    with Workshop(tmp_path, models) as shop:
        shop.servers(ODD, McpServerSpec(name="none", command="no-such-program"))
        yield shop


@DIALECTS
def test_tools_of_mcp_servers_are_offered_and_work(
    models: Provider, run: Run, workshop: Workshop, dialect: str, tmp_path: Path
) -> None:
    """They stand beside the built-in ones from the first request on; what is wrong is noted."""
    call = ToolCall("mcp__odd__echo", json.dumps({"a": 1}))
    play(models, ToolCalls((call,)), NewAnswer("Echoed."))

    ended = run(workshop.members("a", dialect=dialect, is_asked=True))

    assert ended.exit_code == 0, ended.stderr
    assert tools(models.requests[0])[-2:] == ["execute_command", "mcp__odd__echo"]
    assert results(models.requests[1]) == ['echo: {"a": 1}']
    output = next(tmp_path.rglob("agent_outputs/a.txt")).read_text()
    assert output.count("the tool bomb of the MCP server odd has a schema") == 1
    assert "the MCP server none cannot be started: there is no 'no-such-program'" in output


def test_without_a_tool_server_an_agent_fails(
    models: Provider, run: Run, workshop: Workshop
) -> None:
    """An agent whose tools cannot be asked for ends with an error of type tool."""
    models.answer_containers(lambda _agent, _action: None)
    play(models, NewAnswer("Never asked."))

    ended = run(workshop.members("a", is_asked=True, ready_seconds=1))

    assert ended.status.agents["a"].error is not None
    assert ended.status.agents["a"].error.type is AgentErrorType.TOOL
    assert "was not ready within 1 s" in ended.status.agents["a"].error.message
