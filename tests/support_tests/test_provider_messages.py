"""The scripted provider speaks Anthropic Messages. Runs on: host."""

import json
from typing import Any

from tests.support.provider import NewAnswer, Provider, StreamError, Text, Tokens, Vote
from tests.support_tests.requests import (
    ANTHROPIC,
    ask_messages,
    messages,
    messages_tools,
    post,
    vote_schema,
)


def test_streamed_text(provider: Provider) -> None:
    """A streamed text comes in the published order of events, each data naming its type."""
    provider.always(Text("One two three.", tokens_per_chunk=2, usage=Tokens(10, 5, 4)))
    response = ask_messages(provider, stream=True)
    assert response.events == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [data["type"] for data in response.data] == response.events
    start, end = response.data[0]["message"], response.data[-2]
    assert (start["content"], start["stop_reason"]) == ([], None)
    assert start["usage"]["input_tokens"] + start["usage"]["cache_read_input_tokens"] == 10
    assert end["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert end["usage"]["output_tokens"] == 5


def test_streamed_tool_use(provider: Provider) -> None:
    """A tool use begins with an empty input and goes on with pieces of JSON."""
    provider.always(Vote("agent1", "Right.", saying="I vote.", tokens_per_chunk=1))
    response = ask_messages(provider, stream=True, tools=messages_tools("agent1"))
    blocks = [d["content_block"] for d in response.data if d["type"] == "content_block_start"]
    assert [block["type"] for block in blocks] == ["text", "tool_use"]
    assert (blocks[1]["name"], blocks[1]["input"]) == ("vote", {})
    deltas = [d["delta"] for d in response.data if d["type"] == "content_block_delta"]
    parts = "".join(d["partial_json"] for d in deltas if d["type"] == "input_json_delta")
    assert json.loads(parts) == {"agent_id": "agent1", "reason": "Right."}
    assert response.data[-2]["delta"]["stop_reason"] == "tool_use"


def test_whole_tool_use(provider: Provider) -> None:
    """Without streaming the input of a tool is an object."""
    provider.always(NewAnswer("Yes."))
    body = ask_messages(provider, tools=messages_tools()).json
    assert (body["type"], body["role"], body["stop_reason"]) == ("message", "assistant", "tool_use")
    assert body["content"][0]["input"] == {"content": "Yes."}


def test_vote_by_schema(provider: Provider) -> None:
    """A JSON schema asked for by `output_config` is honoured."""
    provider.always(Vote("agent2", "Right."))
    form = {"format": {"type": "json_schema", "schema": vote_schema("agent1", "agent2")}}
    body = ask_messages(provider, output_config=form).json
    assert json.loads(body["content"][0]["text"])["agent_id"] == "agent2"


def test_error_inside_a_stream(provider: Provider) -> None:
    """A stream can begin well and end with an error event."""
    provider.always(StreamError("Overloaded"))
    response = ask_messages(provider, stream=True)
    assert response.events[-1] == "error"
    assert response.data[-1]["error"] == {"type": "overloaded_error", "message": "Overloaded"}


def test_malformed_requests(provider: Provider) -> None:
    """What Anthropic refuses is refused: no version, no max_tokens, orphaned tool uses."""
    use = {"type": "tool_use", "id": "t1", "name": "vote", "input": {}}
    question = {"role": "user", "content": "x"}
    refused: list[dict[str, Any]] = [
        {"max_tokens": None},
        {"messages": []},
        {"tools": [{"name": "x"}]},
        {"tool_choice": {"type": "required"}},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [question, {"role": "assistant", "content": [use]}, question]},
    ]
    replies = [ask_messages(provider, **fields) for fields in refused]
    replies.append(post(provider, "/v1/messages", messages()))
    assert [reply.status for reply in replies] == [400] * len(replies)
    assert {reply.json["error"]["type"] for reply in replies} == {"invalid_request_error"}


def test_tool_results_are_taken(provider: Provider) -> None:
    """A conversation with an answered tool use goes on."""
    use = {"type": "tool_use", "id": "t1", "name": "vote", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "There is no such answer."}
    talk = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    assert post(provider, "/v1/messages", messages(messages=talk), ANTHROPIC).status == 200
