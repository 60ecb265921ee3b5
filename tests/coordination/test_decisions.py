"""From replies to decisions, by tool call and by JSON schema. Runs on: host."""

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.coordination.models.decisions import (
    NewAnswer,
    NoDecision,
    Offer,
    VoteFor,
    WantsToAnswer,
    choice_decision,
    choice_schema,
    offered_tools,
    plain_answer,
    tool_decision,
)
from runner.coordination.models.stream import (
    AssistantMessage,
    Reply,
    ToolCall,
    ToolResult,
    UserMessage,
)
from runner.coordination.talk import reminded

BOTH = Offer(("agent1", "agent3"), may_answer=True)
FIRST = Offer((), may_answer=True)
VOTE_ONLY = Offer(("agent1",), may_answer=False)


def calling(name: str, arguments: object) -> Reply:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return Reply("", (ToolCall("c1", name, text),), "tool_calls")


def test_only_what_is_possible_is_offered() -> None:
    """No vote without an answer, no new answer when all are given."""
    assert [tool.name for tool in offered_tools(FIRST)] == ["new_answer"]
    assert [tool.name for tool in offered_tools(VOTE_ONLY)] == ["vote"]
    assert [tool.name for tool in offered_tools(BOTH)] == ["new_answer", "vote"]
    assert choice_schema(BOTH.choices)["properties"]["choice"]["enum"] == [
        "agent1",
        "agent3",
        "new_answer",
    ]
    assert choice_schema(VOTE_ONLY.choices)["properties"]["choice"]["enum"] == ["agent1"]


def test_the_reason_comes_before_the_choice() -> None:
    """A model that writes the reason first has thought before it chooses."""
    assert list(choice_schema(BOTH.choices)["properties"]) == ["reason", "choice"]
    jsonschema.validate({"reason": "x", "choice": "agent1"}, choice_schema(BOTH.choices))


@pytest.mark.parametrize("name", ["agent3", " Agent3 ", "agent3.2"])
def test_a_vote_may_name_the_agent_or_its_label(name: str) -> None:
    """Case, spaces and the number of the answer do not matter."""
    reply = calling("vote", {"agent_id": name, "reason": "good"})

    assert tool_decision(reply, BOTH) == VoteFor("agent3", "good")
    assert choice_decision(Reply(json.dumps({"reason": "good", "choice": name})), BOTH) == VoteFor(
        "agent3", "good"
    )


def test_a_vote_without_a_reason_counts() -> None:
    """Only the agent is needed."""
    assert tool_decision(calling("vote", {"agent_id": "agent1"}), BOTH) == VoteFor("agent1", "")


def test_a_new_answer_is_its_content() -> None:
    """By tool the content is an argument, as plain text it is the reply."""
    assert tool_decision(calling("new_answer", {"content": "Paris"}), BOTH) == NewAnswer("Paris")
    assert plain_answer(Reply("Paris")) == NewAnswer("Paris")


@pytest.mark.parametrize(
    "text", ['{"choice": "new_answer"}', '```json\n{"choice":"new_answer"}\n```']
)
def test_a_choice_may_be_a_new_answer(text: str) -> None:
    """Its text is asked for afterwards; a Markdown fence around the JSON is no harm."""
    assert choice_decision(Reply(text), BOTH) == WantsToAnswer("")


@pytest.mark.parametrize(
    ("reply", "offer", "feedback"),
    [
        (Reply("text"), BOTH, "No tool was called"),
        (Reply("text", finish_reason="length"), BOTH, "token limit"),
        (calling("vote", {"agent_id": "agent2"}), BOTH, "agent1, agent3"),
        (calling("vote", {"agent_id": 3}), BOTH, "agent1, agent3"),
        (calling("vote", {}), FIRST, "no answer to vote for"),
        (calling("new_answer", {"content": "x"}), VOTE_ONLY, "not on offer"),
        (calling("new_answer", {"content": "\n"}), BOTH, "not empty"),
        (calling("new_answer", '{"content": "x'), BOTH, "no JSON object"),
        (calling("new_answer", "[1]"), BOTH, "no JSON object"),
        (calling("shell", {}), BOTH, "There is no tool 'shell'"),
        (
            Reply("", (ToolCall("1", "vote", "{}"), ToolCall("2", "vote", "{}"))),
            BOTH,
            "exactly one",
        ),
    ],
)
def test_feedback_says_precisely_what_was_wrong(reply: Reply, offer: Offer, feedback: str) -> None:
    """A reply that decides nothing comes back with the reason."""
    decision = tool_decision(reply, offer)

    assert isinstance(decision, NoDecision)
    assert feedback in decision.feedback


@given(text=st.text(max_size=200), name=st.text(max_size=20), arguments=st.text(max_size=200))
def test_no_reply_is_a_crash(text: str, name: str, arguments: str) -> None:
    """Whatever a model writes is a decision or feedback."""
    reply = Reply(text, (ToolCall("c", name, arguments),))

    for offer in (BOTH, FIRST, VOTE_ONLY):
        assert tool_decision(reply, offer)
        assert choice_decision(reply, offer)
        assert plain_answer(reply)


def test_a_well_formed_call_is_answered_by_a_tool_result() -> None:
    """The model sees its call and, as its result, why it did not count."""
    reply = calling("vote", {"agent_id": "agent9"})

    messages = reminded((UserMessage("q"),), reply, "no such agent")

    assert messages[1:] == (
        AssistantMessage("", reply.tool_calls),
        ToolResult("c1", "no such agent"),
    )


@pytest.mark.parametrize("reply", [calling("vote", "{"), calling("no name\n", {}), Reply("text")])
def test_what_a_provider_would_refuse_to_see_again_becomes_text(reply: Reply) -> None:
    """Broken calls are shown to the model as its own words, then the feedback."""
    messages = reminded((UserMessage("q"),), reply, "wrong")

    assert isinstance(messages[1], AssistantMessage)
    assert messages[1].tool_calls == ()
    assert messages[2] == UserMessage("wrong")


def test_after_an_empty_reply_the_feedback_joins_the_question() -> None:
    """No empty message and no two of one role in a row, which servers refuse."""
    messages = reminded((UserMessage("q"),), Reply(""), "empty")

    assert messages == (UserMessage("q\n\nempty"),)
