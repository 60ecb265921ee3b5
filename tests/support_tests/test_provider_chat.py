"""The scripted provider speaks OpenAI Chat Completions. Runs on: host."""

import json
from typing import Any

from tests.support.provider import (
    NewAnswer,
    Provider,
    Rule,
    Script,
    StreamError,
    Text,
    Tokens,
    ToolCall,
    ToolCalls,
    Vote,
)
from tests.support_tests.requests import ask_chat, chat_tools, vote_schema


def _arguments(chunks: list[Any]) -> str:
    deltas = [c["choices"][0]["delta"] for c in chunks if c != "[DONE]" and c["choices"]]
    calls = [d["tool_calls"][0] for d in deltas if "tool_calls" in d]
    return "".join(call["function"]["arguments"] for call in calls)


def test_streamed_text(provider: Provider) -> None:
    """A streamed text comes as role, pieces, finish_reason and [DONE], under one id."""
    provider.always(Text("One two three four five six seven.", tokens_per_chunk=2))
    chunks = ask_chat(provider, stream=True).data
    assert chunks.pop() == "[DONE]"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant"
    assert "".join(d.get("content") or "" for d in deltas) == "One two three four five six seven."
    assert len(deltas) > 4
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * (len(chunks) - 1) + [
        "stop"
    ]
    assert {(c["id"], c["object"]) for c in chunks} == {(chunks[0]["id"], "chat.completion.chunk")}


def test_usage_chunk_comes_last_and_only_when_asked_for(provider: Provider) -> None:
    """`include_usage` adds a last chunk without choices; without it no usage is told."""
    provider.always(Text("hi", usage=Tokens(10, 5, 2)))
    plain = ask_chat(provider, stream=True).data
    assert all("usage" not in chunk for chunk in plain if chunk != "[DONE]")
    chunks = ask_chat(provider, stream=True, stream_options={"include_usage": True}).data
    last = chunks[-2]
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 10
    assert last["usage"]["completion_tokens"] == 5
    assert last["usage"]["prompt_tokens_details"]["cached_tokens"] == 2
    assert all(chunk["usage"] is None for chunk in chunks[:-2])


def test_streamed_tool_call(provider: Provider) -> None:
    """A tool call comes as id and name first, then its arguments in pieces."""
    provider.always(NewAnswer("A long enough answer.", saying="Let me see.", tokens_per_chunk=2))
    chunks = ask_chat(provider, stream=True, tools=chat_tools()).data
    first = next(c for c in chunks if "tool_calls" in c["choices"][0]["delta"])
    call = first["choices"][0]["delta"]["tool_calls"][0]
    assert (call["index"], call["type"], call["function"]["name"]) == (0, "function", "new_answer")
    assert call["id"].startswith("call_")
    assert json.loads(_arguments(chunks)) == {"content": "A long enough answer."}
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_whole_tool_calls(provider: Provider) -> None:
    """Without streaming, any number of tool calls come in one message."""
    provider.always(ToolCalls((ToolCall("a", "{}"), ToolCall("b", "not json"))))
    choice = ask_chat(provider, tools=chat_tools()).json["choices"][0]
    calls = choice["message"]["tool_calls"]
    assert [(c["function"]["name"], c["function"]["arguments"]) for c in calls] == [
        ("a", "{}"),
        ("b", "not json"),
    ]
    assert len({call["id"] for call in calls}) == 2
    assert choice["finish_reason"] == "tool_calls"


def test_vote_by_schema(provider: Provider) -> None:
    """The same vote is given by tool and by JSON schema."""
    provider.always(Vote("agent2", "Shorter."))
    named = {"name": "vote", "strict": True, "schema": vote_schema("agent1", "agent2")}
    form = {"type": "json_schema", "json_schema": named}
    body = ask_chat(provider, response_format=form).json
    by_schema = json.loads(body["choices"][0]["message"]["content"])
    assert by_schema == {"agent_id": "agent2", "reason": "Shorter."}
    tools = chat_tools("agent1", "agent2")
    assert json.loads(_arguments(ask_chat(provider, stream=True, tools=tools).data)) == by_schema


def test_new_answer_where_only_the_choice_is_asked_for(provider: Provider) -> None:
    """A choice by schema, then the text on its own, uses up one scripted answer."""
    first = Rule((NewAnswer("Better."),), step="vote", last_repeats=False)
    provider.play(Script(rules=(first, Rule((Text("Next."),)))))
    schema = vote_schema("agent1", "new_answer")
    form = {"type": "json_schema", "json_schema": {"name": "choice", "schema": schema}}
    choice = ask_chat(provider, response_format=form).json["choices"][0]["message"]["content"]
    assert json.loads(choice)["agent_id"] == "new_answer"
    texts = [ask_chat(provider).json["choices"][0]["message"]["content"] for _ in range(2)]
    assert texts == ["Better.", "Next."]


def test_cooperative_model(provider: Provider) -> None:
    """Without a script a model answers, then votes for the first, then presents."""
    answer = ask_chat(provider, stream=True, tools=chat_tools()).data
    vote = ask_chat(provider, stream=True, tools=chat_tools("agent1", "agent2")).data
    presentation = ask_chat(provider).json["choices"][0]["message"]["content"]
    assert json.loads(_arguments(answer)) == {"content": "The answer of test-model."}
    assert json.loads(_arguments(vote))["agent_id"] == "agent1"
    assert presentation == "The final answer of test-model."
    assert [entry.step for entry in provider.requests] == ["answer", "vote", "text"]


def test_error_inside_a_stream(provider: Provider) -> None:
    """A stream can begin well and end with the provider's error."""
    provider.always(StreamError("Too much."))
    assert ask_chat(provider, stream=True).data[-1]["error"]["message"] == "Too much."


def test_malformed_requests(provider: Provider) -> None:
    """What OpenAI refuses is refused: empty tools, orphaned tool results, loose schemas."""
    call = {"id": "c1", "type": "function", "function": {"name": "vote", "arguments": "{}"}}
    open_call = {"role": "assistant", "content": None, "tool_calls": [call]}
    loose = {"name": "x", "strict": True, "schema": {"type": "object", "properties": {"a": {}}}}
    refused: list[dict[str, Any]] = [
        {"messages": []},
        {"model": None},
        {"tools": []},
        {"tool_choice": "required"},
        {"stream_options": {"include_usage": True}},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "tool", "tool_call_id": "c1", "content": "x"}]},
        {"messages": [{"role": "user", "content": "x"}, open_call]},
        {"messages": [open_call, {"role": "user", "content": "x"}]},
        {"response_format": {"type": "json_schema", "json_schema": loose}},
    ]
    replies = [ask_chat(provider, **fields) for fields in refused]
    assert [reply.status for reply in replies] == [400] * len(refused)
    assert {reply.json["error"]["type"] for reply in replies} == {"invalid_request_error"}
