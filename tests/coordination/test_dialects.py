"""Requests and streamed replies in both model protocols. Runs on: host."""

import json
from typing import Any

import pytest

from runner.contract.spec import AgentSpec
from runner.contract.status import AgentErrorType
from runner.contract.tools import Image
from runner.coordination.models import chat, messages
from runner.coordination.models.chat import ChatAssembler
from runner.coordination.models.client import parse_event
from runner.coordination.models.messages import MessagesAssembler
from runner.coordination.models.stream import (
    MAX_TOOL_CALLS,
    AssistantMessage,
    Calling,
    Delta,
    DeltaKind,
    ModelFailure,
    Request,
    Tokens,
    Tool,
    ToolCall,
    ToolResult,
    UserMessage,
)

TOOL = Tool("vote", "Vote.", {"type": "object", "properties": {}})
CALL = ToolCall("c1", "vote", '{"agent_id": "agent1"}')
TALK = Request(
    "Be brief.",
    (UserMessage("Hi"), AssistantMessage("", (CALL,)), ToolResult("c1", "No."), UserMessage("?")),
    (TOOL,),
)


def agent(**fields: Any) -> AgentSpec:
    return AgentSpec(id="a", model="m", **fields)


def test_a_chat_request_has_what_the_protocol_asks_for() -> None:
    """Tools are forced, usage is asked for, parameters pass, but none overrides the protocol."""
    body = chat.request_body(agent(params={"temperature": 0.5, "stream": False}), TALK)

    assert (body["temperature"], body["stream"], body["model"]) == (0.5, True, "m")
    assert body["stream_options"] == {"include_usage": True}
    assert body["tool_choice"] == "required"
    assert [message["role"] for message in body["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "user",
    ]
    assert body["messages"][2]["content"] is None


def test_quirks_of_a_provider_are_respected() -> None:
    """Where a provider takes neither forced tools nor stream options, none are sent."""
    body = chat.request_body(agent(forced_tool_choice=False, stream_usage=False), TALK)

    assert body["tool_choice"] == "auto"
    assert "stream_options" not in body


def test_a_schema_is_sent_as_response_format() -> None:
    """Chat servers that enforce a schema get it by its standard name."""
    request = Request("", (UserMessage("Hi"),), schema={"type": "object", "properties": {}})

    body = chat.request_body(agent(), request)

    assert body["response_format"]["json_schema"]["schema"] == request.schema
    assert "tools" not in body


def test_a_messages_request_has_what_the_protocol_asks_for() -> None:
    """There is a token limit, roles alternate, and a call's arguments are an object."""
    body = messages.request_body(agent(dialect="messages"), TALK)

    assert body["max_tokens"] == messages.DEFAULT_MAX_TOKENS
    assert body["tool_choice"] == {"type": "any"}
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"][0]["input"] == {"agent_id": "agent1"}
    assert [block["type"] for block in body["messages"][2]["content"]] == ["tool_result", "text"]


def test_a_token_limit_of_the_configuration_wins() -> None:
    """The default limit is for agents without one."""
    body = messages.request_body(agent(dialect="messages", params={"max_tokens": 7}), TALK)

    assert body["max_tokens"] == 7


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def test_a_chat_reply_is_put_together_from_its_chunks() -> None:
    """Text, thinking and calls cut anywhere become one reply with its usage."""
    assembler = ChatAssembler()
    call = {"index": 0, "id": "c1", "function": {"name": "vote", "arguments": ""}}
    rest = [{"index": 0, "function": {"arguments": part}} for part in ('{"a"', ": 1}")]
    events = [
        chunk({"role": "assistant", "content": None}),
        chunk({"reasoning_content": "hm"}),
        chunk({"content": "I "}),
        chunk({"content": "vote."}),
        chunk({"tool_calls": [call]}),
        *(chunk({"tool_calls": [part]}) for part in rest),
        chunk({}, "tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}},
    ]

    heard = [delta for event in events if (delta := assembler.feed(event))]

    assert heard[0] == Delta(DeltaKind.THINKING, "hm")
    assert [delta.kind for delta in heard[3:]] == [
        DeltaKind.TOOL_NAME,
        DeltaKind.TOOL_ARGUMENTS,
        DeltaKind.TOOL_ARGUMENTS,
    ]
    reply = assembler.finish()
    assert reply.text == "I vote."
    assert reply.tool_calls == (ToolCall("c1", "vote", '{"a": 1}'),)
    assert (reply.finish_reason, reply.usage) == ("tool_calls", Tokens(3, 5))


def test_a_messages_reply_is_put_together_from_its_events() -> None:
    """Blocks of text, thinking and tool use become one reply with its usage."""
    assembler = MessagesAssembler()
    tool = {"type": "tool_use", "id": "t1", "name": "vote", "input": {}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
        {"type": "content_block_delta", "index": 0, "delta": {"thinking": "hm"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"text": "I vote."}},
        {"type": "content_block_start", "index": 2, "content_block": tool},
        {"type": "content_block_delta", "index": 2, "delta": {"partial_json": '{"a"'}},
        {"type": "content_block_delta", "index": 2, "delta": {"partial_json": ": 1}"}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 9},
        },
    ]
    events.append({"type": "message_stop"})

    over = [(assembler.feed(event), assembler.is_over)[1] for event in events]

    assert over == [False] * (len(events) - 1) + [True]
    reply = assembler.finish()
    assert (reply.text, reply.tool_calls) == ("I vote.", (ToolCall("t1", "vote", '{"a": 1}'),))
    assert (reply.finish_reason, reply.usage) == ("tool_use", Tokens(3, 9))


def test_signatures_of_thoughts_go_back_with_their_calls() -> None:
    """Gemini refuses a call that comes back without the signature it came with."""
    extra = {"google": {"thought_signature": "c2ln"}}
    assembler = ChatAssembler()
    call = {"index": 0, "id": "c1", "function": {"name": "vote", "arguments": "{}"}}
    assembler.feed(chunk({"tool_calls": [{**call, "extra_content": extra}]}))
    assembler.feed({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})

    said = AssistantMessage("", assembler.finish().tool_calls)
    body = chat.request_body(agent(), Request("", (UserMessage("?"), said)))

    assert body["messages"][2]["tool_calls"][0]["extra_content"] == extra


def test_blocks_of_thinking_go_back_as_they_came() -> None:
    """Signed and redacted thinking stands where it stood, before the calls that it led to."""
    assembler = MessagesAssembler()
    redacted = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
    blocks: list[dict[str, Any]] = [{"type": "thinking", "thinking": "", "signature": ""}, redacted]
    blocks += [{"type": "tool_use", "id": "t1", "name": "vote", "input": {}}]
    for index, block in enumerate(blocks):
        assembler.feed({"type": "content_block_start", "index": index, "content_block": block})
    for key, text in (("thinking", "hm"), ("thinking", "m"), ("signature", "c2ln")):
        delta = {"type": f"{key}_delta", key: text}
        assembler.feed({"type": "content_block_delta", "index": 0, "delta": delta})
    assembler.feed({"type": "message_delta", "delta": {"stop_reason": "tool_use"}})
    reply = assembler.finish()

    said = AssistantMessage(reply.text, reply.tool_calls, reply.kept)
    body = messages.request_body(agent(dialect="messages"), Request("", (said,)))

    thought = {"type": "thinking", "thinking": "hmm", "signature": "c2ln"}
    assert body["messages"][0]["content"] == [thought, redacted, blocks[2]]


PICTURE = Image(media_type="image/png", data="aGk=")


def test_pictures_follow_the_results_of_a_reply_in_chat() -> None:
    """Results hold text only, one after the other; the next message has the pictures."""
    results = (ToolResult("c1", "seen", (PICTURE,)), ToolResult("c2", "too", (PICTURE,)))
    calls = (CALL, CALL._replace(id="c2"))
    talk = (UserMessage("?"), AssistantMessage("", calls), *results)

    for after in ((), (UserMessage("Go on."),)):
        shown = chat.request_body(agent(), Request("", (*talk, *after)))["messages"]
        assert [message["role"] for message in shown[3:]] == ["tool", "tool", "user"]
        parts = shown[-1]["content"]
        assert [p["type"] for p in parts].count("image_url") == 2
        assert parts[1]["image_url"]["url"] == "data:image/png;base64,aGk="
        assert not after or parts[-1] == {"type": "text", "text": "Go on."}


def test_pictures_are_part_of_their_result_in_messages() -> None:
    """A result's content is its text and its pictures."""
    talk = (UserMessage("?"), AssistantMessage("", (CALL,)), ToolResult("c1", "", (PICTURE,)))

    body = messages.request_body(agent(dialect="messages"), Request("", talk))

    [picture] = body["messages"][2]["content"][0]["content"]
    assert picture["source"] == {"type": "base64", "media_type": "image/png", "data": "aGk="}


@pytest.mark.parametrize(
    ("calling", "expected"), [("must", "required"), ("may", "auto"), ("never", "none")]
)
def test_whether_to_call_is_said_in_both_protocols(calling: Calling, expected: str) -> None:
    """A call may be demanded, left to the model, or out of the question."""
    request = TALK._replace(calling=calling)

    in_messages = {"required": "any"}.get(expected, expected)
    assert chat.request_body(agent(), request)["tool_choice"] == expected
    assert messages.request_body(agent(), request)["tool_choice"] == {"type": in_messages}


NONSENSE: list[dict[str, Any]] = [
    {},
    {"choices": None},
    {"choices": ["x"]},
    {"choices": [{"delta": "x", "finish_reason": 3}]},
    {"choices": [{"delta": {"content": 5, "tool_calls": [None, {"function": 3}]}}]},
    {"choices": [{"delta": {"tool_calls": "x"}}], "usage": {"prompt_tokens": "3"}},
    {"type": None},
    {"type": "message_start", "message": 3},
    {"type": "message_delta", "delta": 3, "usage": []},
    {"type": "content_block_start", "index": "x", "content_block": {}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": 3}},
    {"type": "content_block_delta", "index": [], "delta": None},
    {"type": "content_block_delta", "index": 7, "delta": {"partial_json": "x"}},
]


@pytest.mark.parametrize("event", NONSENSE)
@pytest.mark.parametrize("assembler", [ChatAssembler, MessagesAssembler])
def test_events_of_a_wrong_shape_are_passed_over(
    assembler: type[ChatAssembler | MessagesAssembler], event: dict[str, Any]
) -> None:
    """Well-formed JSON of another shape is no crash; without an end it is a broken stream."""
    taking = assembler()

    assert taking.feed(event) is None

    with pytest.raises(ModelFailure, match="middle of a reply"):
        taking.finish()


@pytest.mark.parametrize("assembler", [ChatAssembler, MessagesAssembler])
def test_thousands_of_tool_calls_are_cut(
    assembler: type[ChatAssembler | MessagesAssembler],
) -> None:
    """Of calls without end one more is kept than may be made, so that it is seen."""
    taking = assembler()

    for index in range(1000):
        taking.feed(chunk({"tool_calls": [{"index": index, "function": {}}]}))
        block = {"type": "tool_use", "id": "x", "name": "x"}
        taking.feed({"type": "content_block_start", "index": index, "content_block": block})
    taking.feed({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    taking.feed({"type": "message_delta", "delta": {"stop_reason": "tool_use"}})

    assert len(taking.finish().tool_calls) == MAX_TOOL_CALLS + 1


@pytest.mark.parametrize(
    ("error", "type_", "is_transient"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, AgentErrorType.PROVIDER, True),
        ({"type": "authentication_error"}, AgentErrorType.AUTHENTICATION, False),
        ({"type": "budget", "message": "used up"}, AgentErrorType.BUDGET, False),
        ({"type": "rate_limit_error"}, AgentErrorType.RATE_LIMIT, True),
        ({"code": 500, "message": None}, AgentErrorType.PROVIDER, True),
        ("just text", AgentErrorType.PROVIDER, True),
    ],
)
def test_an_error_inside_a_stream_has_a_type(
    error: object, type_: AgentErrorType, is_transient: bool
) -> None:
    """Errors of providers and of the gateway are told apart, and whether to ask again."""
    with pytest.raises(ModelFailure) as caught:
        parse_event(json.dumps({"error": error}).encode())

    assert (caught.value.type, caught.value.is_transient) == (type_, is_transient)
