"""The picture of the live display, drawn for terminals of many kinds."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from runner.contract.status import (
    AgentError,
    AgentErrorType,
    AgentState,
    AgentStatus,
    Coordination,
    Phase,
    Results,
    Status,
    ToolInUse,
)
from runner.contract.usage import RunUsage
from runner.report.picture import Look, picture
from tests.report.runs import HOSTILE, status_of


def drawn(
    status: Status | None, *, width: int = 100, ascii_only: bool = False, question: str = "Why?"
) -> list[str]:
    """Return the lines of the picture, without colours."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    console.print(picture(status, question, 12.34, Look(width, ascii_only)))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_before_the_first_status() -> None:
    """Until the container is there, the question and the waiting time are shown."""
    assert drawn(None) == ["Why?", "", "⠸ starting the container  12.3s"]


def test_whole_picture() -> None:
    """Phases, agents with votes and restarts, and totals have their places."""
    status = status_of(coordination=Coordination(phase=Phase.ENFORCEMENT, completion_percentage=50))
    assert drawn(status) == [
        "Why?",
        "",
        "● initial answer → ● enforcement → ○ presentation  50%  12.3s",
        "  agent    state      answer    votes  voted for  restarts  tokens",
        "✓ agent_a  voted      agent1.1      1  agent1.1          0       -",
        "⠸ agent_b  streaming  -             -  -                 1       -",
        "120 tokens in, 34 out",
    ]


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        (RunUsage(cost_usd=0.0123456), "0.0123 USD  0 tokens in, 0 out"),
        (
            RunUsage(cost_usd=0.125, budget_usd=0.5, reserved_usd=0.0),
            "0.1250 of 0.5000 USD, 0.3750 left  0 tokens in, 0 out",
        ),
        (
            RunUsage(cost_usd=0.125, budget_usd=0.5, reserved_usd=0.25),
            "0.1250 of 0.5000 USD, 0.3750 left (0.2500 set aside)  0 tokens in, 0 out",
        ),
        (
            RunUsage(budget_usd=0.5),
            "0.0000 of 0.5000 USD, 0.5000 left  0 tokens in, 0 out",
        ),
        (RunUsage(input_tokens=3), "3 tokens in, 0 out"),
    ],
)
def test_money(usage: RunUsage, words: str) -> None:
    """The last line begins with what was spent and what is left, as far as there are prices."""
    assert drawn(status_of(usage=usage))[-1] == words


def test_ascii() -> None:
    """A terminal without Unicode gets the same picture in ASCII."""
    lines = drawn(status_of(), ascii_only=True, question="Größe 大?")
    assert all(line.isascii() for line in lines)
    assert lines[0] == "Gr??e ??"
    assert lines[4].startswith("+ agent_a")


def test_winner_stands_out() -> None:
    """The winner is named as such, and all phases are done."""
    meta = status_of().meta.model_copy(update={"is_complete": True})
    status = status_of(meta=meta, results=Results(winner="agent_a", votes={"agent1.1": 2}))
    lines = drawn(status)
    assert lines[4].startswith("★ agent_a  winner")


def test_a_tool_in_use_has_its_own_line() -> None:
    """Who uses which tool for how long; a name that an agent made up is harmless."""
    agents = {"agent_b": AgentState(tool=ToolInUse(name=HOSTILE, since=991.0))}
    [line] = [line for line in drawn(status_of(agents=agents)) if line.startswith("agent_b: ")]
    assert line.startswith("agent_b: one WINNER: me red right")
    assert line.endswith(" (12s)")


def test_error_has_its_own_line() -> None:
    """What is wrong with an agent stands below the table, in one line."""
    error = AgentError(type=AgentErrorType.RATE_LIMIT, message="try\nlater", timestamp=1.0)
    agents = {"agent_a": AgentState(status=AgentStatus.ERROR, error=error)}
    assert "agent_a: rate_limit: try later" in drawn(status_of(agents=agents))


@pytest.mark.parametrize("width", [40, 60, 80])
def test_narrow_terminals(width: int) -> None:
    """State and answer can be read on narrow terminals; long ids are shortened in the middle."""
    long = "agent_with_a_name_that_does_not_end_so_soon_1"
    lines = drawn(status_of(agents={long: status_of().agents["agent_a"]}), width=width)
    (row,) = [line for line in lines if line.startswith("✓")]
    assert "_1  voted  " in row
    assert "agent1.1" in row
    assert max(map(len, lines)) <= width


def test_markup_is_text() -> None:
    """Names and questions that look like markup are shown as they are."""
    lines = drawn(status_of(agents={"[red]x[/red]": AgentState()}), question="[bold]why[/bold]")
    assert lines[0] == "[bold]why[/bold]"
    assert "[red]x[/red]" in lines[4]


@settings(max_examples=50, deadline=None)
@given(
    name=st.text(min_size=1, max_size=80) | st.just(HOSTILE),
    question=st.text(max_size=500),
    width=st.integers(20, 200),
    ascii_only=st.booleans(),
)
def test_any_text_any_width(name: str, question: str, width: int, *, ascii_only: bool) -> None:
    """No text and no width breaks the picture or lets a control character through."""
    status = status_of(agents={name: status_of().agents["agent_a"]})
    lines = drawn(status, width=width, ascii_only=ascii_only, question=question)
    assert all(cell_len(line) <= width for line in lines)
    assert not [c for line in lines for c in line if ord(c) < 32 or 127 <= ord(c) < 160]
    assert not ascii_only or all(line.isascii() for line in lines)
