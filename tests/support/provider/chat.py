"""OpenAI Chat Completions: bodies, chunks, errors and what is refused. Runs on: host.

After https://platform.openai.com/docs/api-reference/chat and …/chat-streaming.
"""

import time
from collections.abc import Iterator
from typing import Any

from tests.support.provider.replies import Tokens
from tests.support.provider.request import ModelRequest
from tests.support.provider.turns import Turn, dumps, encode, pieces, tokens_of

DONE = b"data: [DONE]\n\n"
_ERROR_TYPES = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("permission_error", None),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


def chat_events(turn: Turn, request: ModelRequest, reply_id: str) -> Iterator[bytes]:
    """Yield the server-sent events of one streamed turn, the last one included."""
    with_usage = bool((request.body.get("stream_options") or {}).get("include_usage"))
    head = _head("chat.completion.chunk", request, reply_id)
    tail = {"usage": None} if with_usage else {}
    finish = "tool_calls" if turn.calls else turn.finish
    for delta, reason in [*((d, None) for d in _deltas(turn)), ({}, finish)]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        yield _event(head | {"choices": [choice]} | tail)
    if with_usage:
        yield _event(head | {"choices": [], "usage": _usage(tokens_of(turn, request))})
    yield DONE


def chat_body(turn: Turn, request: ModelRequest, reply_id: str) -> bytes:
    """Return the body of one turn that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": turn.text or None, "refusal": None}
    if turn.calls:
        message["tool_calls"] = [
            {
                "id": _call_id(i),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for i, call in enumerate(turn.calls)
        ]
    else:
        message["content"] = turn.text
    finish = "tool_calls" if turn.calls else turn.finish
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    usage = _usage(tokens_of(turn, request))
    head = _head("chat.completion", request, reply_id)
    return encode(dumps(head | {"choices": [choice], "usage": usage}))


def chat_error(status: int, message: str) -> dict[str, Any]:
    """Return the error body that goes with `status`."""
    kind, code = _ERROR_TYPES.get(
        status, ("server_error" if status >= 500 else "invalid_request_error", None)
    )
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def chat_stream_error(message: str) -> bytes:
    """Return the event that reports an error inside a stream."""
    return _event(chat_error(500, message))


def chat_models(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the list of models."""
    models = [{"id": n, "object": "model", "created": 1, "owned_by": "tests"} for n in names]
    return {"object": "list", "data": models}


def chat_refusal(body: dict[str, Any]) -> str | None:
    """Return why the provider would answer 400 to `body`, or None."""
    if not isinstance(body.get("model"), str) or not body["model"]:
        return "you must provide a model parameter"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "Missing required parameter: 'messages'."
    return _tools_refusal(body) or _schema_refusal(body) or _messages_refusal(messages)


def _tools_refusal(body: dict[str, Any]) -> str | None:
    tools = body.get("tools")
    if tools is not None and not tools:
        return "Invalid 'tools': empty array."
    for tool in tools or []:
        if tool.get("type") != "function" or not tool.get("function", {}).get("name"):
            return "Missing required parameter: 'tools[].function.name'."
    if body.get("tool_choice") is not None and not tools:
        return "'tool_choice' is only allowed when 'tools' are specified."
    if body.get("stream_options") is not None and not body.get("stream"):
        return "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    return None


def _schema_refusal(body: dict[str, Any]) -> str | None:
    form = body.get("response_format")
    if form is None or form.get("type") in {"text", "json_object"}:
        return None
    named = form.get("json_schema") or {}
    if form.get("type") != "json_schema" or not named.get("name") or "schema" not in named:
        return "Missing required parameter: 'response_format.json_schema'."
    schema = named["schema"]
    if named.get("strict") and (
        schema.get("additionalProperties") is not False
        or set(schema.get("required", ())) != set(schema.get("properties", ()))
    ):
        return "Invalid schema for response_format: a strict schema names every property required."
    return None


def _messages_refusal(messages: list[Any]) -> str | None:
    open_calls: set[str] = set()
    for message in messages:
        role = message.get("role")
        if role not in {"system", "developer", "user", "assistant", "tool"}:
            return f"Invalid value: {role!r} for 'messages[].role'."
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                return "messages with role 'tool' must be a response to a preceding 'tool_calls'."
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            return "An assistant message with 'tool_calls' must be followed by tool messages."
        if message.get("content") is None and not message.get("tool_calls"):
            return "Invalid value for 'content': expected a string, got null."
        open_calls = {call["id"] for call in message.get("tool_calls") or []}
    return "An assistant message with 'tool_calls' must be answered." if open_calls else None


def _deltas(turn: Turn) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if turn.calls else "", "refusal": None}
    for piece in pieces(turn.thinking, turn.characters_per_chunk):
        yield {"reasoning_content": piece}
    for piece in pieces(turn.text, turn.characters_per_chunk):
        yield {"content": piece}
    for index, call in enumerate(turn.calls):
        function = {"name": call.name, "arguments": ""}
        first = {"index": index, "id": _call_id(index), "type": "function", "function": function}
        yield {"tool_calls": [first]}
        for piece in pieces(call.arguments, turn.characters_per_chunk):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _head(kind: str, request: ModelRequest, reply_id: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{reply_id}",
        "object": kind,
        "created": int(time.time()),
        "model": request.model,
        "service_tier": "default",
        "system_fingerprint": "fp_tests",
    }


def _usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "prompt_tokens": tokens.input_tokens,
        "completion_tokens": tokens.output_tokens,
        "total_tokens": tokens.input_tokens + tokens.output_tokens,
        "prompt_tokens_details": {"cached_tokens": tokens.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _call_id(index: int) -> str:
    return f"call_{index:024d}"


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + encode(dumps(data)) + b"\n\n"
