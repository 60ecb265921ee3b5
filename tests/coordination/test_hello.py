"""What coordination takes of what a tool server, or an agent in its place, says. Runs on: host."""

from pathlib import Path

from runner.contract.tools import Hello, ToolDefinition
from runner.coordination.acting.hello import (
    MAX_DEFINITIONS_CHARS,
    MAX_PROBLEMS,
    MAX_TOOLS,
    PROBLEM_CHARS,
    server_tools,
)
from tests.coordination.conftest import Run
from tests.coordination.test_acting import play, tools
from tests.support.provider import NewAnswer, Provider
from tests.support.workshop import Workshop


def tool(name: str, description: str = "") -> ToolDefinition:
    return ToolDefinition(name=name, description=description, parameters={"type": "object"})


def names(*tools: ToolDefinition) -> list[str]:
    return [definition.name for definition in server_tools(Hello(tools=tools)).definitions]


def test_tools_of_servers_are_taken_in_their_order() -> None:
    """What fits is offered as it was said, without a problem."""
    tools = (tool("mcp__b__x"), tool("mcp__a__y"))
    assert server_tools(Hello(tools=tools)) == (tools, ())


def test_no_tool_passes_for_another() -> None:
    """Decisions, built-in tools, names that providers refuse and repetitions are left out."""
    odd = ("vote", "new_answer", "execute_command", "mcp__a b", "mcp__", "mcp__" + "x" * 60)
    said = Hello(tools=tuple(map(tool, (*odd, "mcp__a__b", "mcp__a__b"))))
    known = server_tools(said)
    assert [definition.name for definition in known.definitions] == ["mcp__a__b"]
    assert known.problems[0].endswith(f"left out, too many or too large: {len(odd) + 1}")


def test_tools_without_end_are_cut_off() -> None:
    """Neither their number nor their size exceeds what a model's request has room for."""
    many = [tool(f"mcp__a__{number}") for number in range(MAX_TOOLS + 50)]
    assert len(names(*many)) == MAX_TOOLS
    large = [tool(f"mcp__a__{number}", "x" * 60_000) for number in range(20)]
    assert len(names(*large)) == MAX_DEFINITIONS_CHARS // 60_100
    assert names(tool("mcp__a__huge", "x" * 1_000_000), tool("mcp__a__b")) == ["mcp__a__b"]


def test_problems_are_a_few_plain_lines() -> None:
    """What is wrong goes to the log without line breaks, terminal sequences or floods."""
    said = Hello(problems=("a\n\x1b[31mb" + "c" * 5_000, *("d" for _ in range(1_000))))
    problems = server_tools(said).problems
    assert len(problems) == MAX_PROBLEMS
    assert problems[0].startswith("a bccc")
    assert len(problems[0]) == PROBLEM_CHARS


def test_what_is_left_out_is_not_offered(models: Provider, run: Run, tmp_path: Path) -> None:
    """A tool server that claims a decision changes nothing of what the model decides by."""
    hello = Hello(tools=tuple(map(tool, ("vote", "mcp__a__b", "mcp__a b"))))
    with Workshop(tmp_path, models, lambda _: None, hello) as shop:
        play(models, NewAnswer("Decided."))
        ended = run(shop.members("a", "b", is_asked=True))

    assert ended.exit_code == 0, ended.stderr
    offered = tools(models.requests[0])
    assert [name for name in offered if name.startswith("mcp__")] == ["mcp__a__b"]
    assert "vote" not in offered
    assert "left out, too many or too large: 2" in ended.layout.agent_output("a").read_text()
