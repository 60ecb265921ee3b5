"""Anthropic Messages: bodies, events, errors and what is refused. Runs on: host.

After https://platform.claude.com/docs/api/messages and …/build-with-claude/streaming.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from tests.support.provider.replies import Tokens
from tests.support.provider.request import ModelRequest
from tests.support.provider.turns import Turn, dumps, encode, pieces, tokens_of

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}


def messages_events(turn: Turn, request: ModelRequest, reply_id: str) -> Iterator[bytes]:
    """Yield the server-sent events of one streamed turn, the last one included."""
    tokens = tokens_of(turn, request)
    start = _message([], None, tokens, request, reply_id)
    start["usage"]["output_tokens"] = 1
    yield _event("message_start", {"message": start})
    yield _event("ping", {})
    for index, (block, deltas) in enumerate(_blocks(turn)):
        yield _event("content_block_start", {"index": index, "content_block": block})
        for delta in deltas:
            yield _event("content_block_delta", {"index": index, "delta": delta})
        yield _event("content_block_stop", {"index": index})
    end = {"stop_reason": _stop_reason(turn), "stop_sequence": None}
    yield _event("message_delta", {"delta": end, "usage": {"output_tokens": tokens.output_tokens}})
    yield _event("message_stop", {})


def messages_body(turn: Turn, request: ModelRequest, reply_id: str) -> bytes:
    """Return the body of one turn that is not streamed."""
    content: list[dict[str, Any]] = [{"type": "text", "text": turn.text}] if turn.text else []
    for index, call in enumerate(turn.calls):
        content.append(_tool_use(index, call.name, json.loads(call.arguments)))
    tokens = tokens_of(turn, request)
    return encode(dumps(_message(content, _stop_reason(turn), tokens, request, reply_id)))


def messages_error(status: int, message: str) -> dict[str, Any]:
    """Return the error body that goes with `status`."""
    kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_tests"}


def messages_stream_error(message: str) -> bytes:
    """Return the event that reports an error inside a stream."""
    return b"event: error\ndata: " + encode(dumps(messages_error(529, message))) + b"\n\n"


def messages_models(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the list of models."""
    models = [
        {"type": "model", "id": n, "display_name": n, "created_at": "2026-01-01T00:00:00Z"}
        for n in names
    ]
    return {"data": models, "has_more": False, "first_id": names[0], "last_id": names[-1]}


def messages_refusal(body: dict[str, Any]) -> str | None:
    """Return why the provider would answer 400 to `body`, or None."""
    for name, kind in (("model", str), ("max_tokens", int), ("messages", list)):
        if not isinstance(body.get(name), kind) or not body[name]:
            return f"{name}: Field required"
    for tool in body.get("tools") or []:
        if not tool.get("name") or "input_schema" not in tool:
            return "tools.0.custom.input_schema: Field required"
    choice = body.get("tool_choice")
    if choice is not None and choice.get("type") not in {"auto", "any", "tool", "none"}:
        return f"tool_choice: Input tag {choice.get('type')!r} is not known"
    return _messages_refusal(body["messages"]) or _thinking_refusal(body)


def _messages_refusal(messages: list[Any]) -> str | None:
    if messages[0].get("role") != "user":
        return "messages: first message must use the 'user' role"
    open_calls: set[str] = set()
    for message in messages:
        if message.get("role") not in {"user", "assistant"}:
            return f"messages: Unexpected role {message.get('role')!r}."
        if not message.get("content"):
            return "messages: all messages must have non-empty content"
        blocks = message["content"] if isinstance(message["content"], list) else []
        results = {b.get("tool_use_id") for b in blocks if b.get("type") == "tool_result"}
        if results != open_calls:
            return "messages: `tool_use` ids were found without `tool_result` blocks after them."
        if problem := _content_refusal(blocks):
            return problem
        open_calls = {b["id"] for b in blocks if b.get("type") == "tool_use"}
    return "messages: `tool_use` ids were found without `tool_result`." if open_calls else None


def _content_refusal(blocks: list[Any]) -> str | None:
    if any(b.get("type") == "text" and not b.get("text") for b in blocks):
        return "messages: text content blocks must be non-empty"
    if any(b.get("signature") != signature(b["thinking"]) for b in _thoughts(blocks)):
        return "messages: Invalid `signature` in `thinking` block"
    return None


def _thoughts(blocks: list[Any]) -> list[Any]:
    return [block for block in blocks if block.get("type") == "thinking"]


def _thinking_refusal(body: dict[str, Any]) -> str | None:
    """Thinking models want the thinking before their last calls back."""
    said = [m["content"] for m in body["messages"] if m.get("role") == "assistant"]
    if not said or (body.get("thinking") or {}).get("type") != "enabled":
        return None
    blocks = said[-1] if isinstance(said[-1], list) else []
    if any(b.get("type") == "tool_use" for b in blocks) and not _thoughts(blocks[:1]):
        return "messages: Expected `thinking` or `redacted_thinking`, but found `tool_use`."
    return None


def _blocks(turn: Turn) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    size = turn.characters_per_chunk
    if turn.thinking:
        thoughts = [{"type": "thinking_delta", "thinking": p} for p in pieces(turn.thinking, size)]
        signed = {"type": "signature_delta", "signature": signature(turn.thinking)}
        yield {"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, signed]
    if turn.text:
        texts = [{"type": "text_delta", "text": piece} for piece in pieces(turn.text, size)]
        yield {"type": "text", "text": ""}, texts
    for index, call in enumerate(turn.calls):
        parts = ["", *pieces(call.arguments, size)]
        inputs = [{"type": "input_json_delta", "partial_json": part} for part in parts]
        yield _tool_use(index, call.name, {}), inputs


def signature(thinking: str) -> str:
    """Return what a block of thinking is signed with."""
    return hashlib.sha256(thinking.encode()).hexdigest()


def _tool_use(index: int, name: str, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{index:024d}", "name": name, "input": arguments}


def _stop_reason(turn: Turn) -> str:
    return "tool_use" if turn.calls else _STOP_REASONS[turn.finish]


def _message(
    content: list[dict[str, Any]],
    stop_reason: str | None,
    tokens: Tokens,
    request: ModelRequest,
    reply_id: str,
) -> dict[str, Any]:
    return {
        "id": f"msg_{reply_id}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens.input_tokens - tokens.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": tokens.cached_tokens,
            "output_tokens": tokens.output_tokens,
        },
    }


def _event(name: str, data: dict[str, Any]) -> bytes:
    payload = encode(dumps({"type": name} | data))
    return b"event: " + name.encode() + b"\ndata: " + payload + b"\n\n"
