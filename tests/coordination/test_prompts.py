"""What agents are told, and what answers cannot do to it. Runs on: host."""

import re

from hypothesis import given
from hypothesis import strategies as st

from runner.contract.spec import AgentSpec, AgentTools, DecisionMode
from runner.coordination.models.decisions import Offer
from runner.coordination.prompts import (
    ShownAnswer,
    decision_instruction,
    framed_answers,
    question_and_answers,
)

BOTH = Offer(("agent1",), may_answer=True)


def instruction(offer: Offer, sensitivity: str = "lenient", *, by_tool: bool = True) -> str:
    mode: DecisionMode = "tools" if by_tool else "json_schema"
    agent = AgentSpec(id="b", model="m", decision_mode=mode, system_message="Be brief.")
    return decision_instruction("agent2", offer, sensitivity, agent)  # type: ignore[arg-type]  # one of the three


def test_sensitivity_changes_the_instruction() -> None:
    """The three settings ask for more or less before a vote."""
    texts = {instruction(BOTH, level) for level in ("lenient", "balanced", "strict")}

    assert len(texts) == 3


def test_the_instruction_begins_with_the_agent_s_own_message() -> None:
    """The configuration's system_message stays in force."""
    assert instruction(BOTH).startswith("Be brief.\n\nYou are one of several agents")


def test_an_agent_is_told_only_what_it_can_do() -> None:
    """Without answers there is no talk of voting; without answers left, only of voting."""
    assert "vote for" not in instruction(Offer((), may_answer=True)).lower().replace("votes", "")
    assert "now vote" in instruction(Offer(("agent1",), may_answer=False))
    assert "new_answer" not in instruction(Offer(("agent1",), may_answer=False), by_tool=False)


def test_an_agent_is_told_of_the_users_files() -> None:
    """An agent that acts knows which of the user's files it can read; no name makes a line."""
    tools = AgentTools(workspace="/w", answers="/a", names=(), context_paths=("/docs", "/x\ny"))
    agent = AgentSpec(id="b", model="m", tools=tools)
    told = decision_instruction("agent2", BOTH, "lenient", agent)
    assert "shares these with you, read-only: /docs, /x y." in told


@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_an_answer_cannot_end_its_own_frame(contents: list[str]) -> None:
    """The mark of the frames is nowhere in an answer, so each frame begins and ends once."""
    answers = [ShownAnswer(f"agent{n}", text) for n, text in enumerate(contents, start=1)]

    shown = framed_answers(answers)

    mark = re.findall(r"the mark ([0-9a-f]{12})\.", shown)[0]
    assert shown.count(mark) == 1 + 2 * len(answers)


def test_a_copied_frame_does_not_fit_the_next_prompt() -> None:
    """An author who imitates the frames it has seen gets frames with another mark."""
    seen = framed_answers([ShownAnswer("agent1", "Paris")])

    shown = framed_answers([ShownAnswer("agent1", "Paris"), ShownAnswer("agent2", seen)])

    marks = re.findall(r"the mark ([0-9a-f]{12})\.", shown)
    assert len(set(marks)) == 2
    assert shown.count(marks[0]) == 1 + 2 * 2


def test_the_same_answers_make_the_same_prompt() -> None:
    """A recorded run can be replayed: nothing in a prompt is random."""
    answers = [ShownAnswer("agent1", "Paris")]

    assert question_and_answers("Where?", answers) == question_and_answers("Where?", answers)


def test_a_question_that_is_no_valid_text_can_still_be_asked() -> None:
    """Lone surrogates become question marks instead of an error."""
    assert question_and_answers("a\udc80b", []) == "QUESTION\na?b"
