"""Anthropic Messages: request bodies and streamed replies. Runs on: the run container.

https://docs.anthropic.com/en/api/messages and …/messages-streaming
"""

from collections.abc import Mapping
from typing import Any

from runner.contract.spec import AgentSpec
from runner.contract.tools import Image
from runner.coordination.models.decisions import json_object
from runner.coordination.models.stream import (
    MAX_TOOL_CALLS,
    AssistantMessage,
    Delta,
    DeltaKind,
    JsonObject,
    Kept,
    Message,
    Reply,
    Request,
    Tokens,
    Tool,
    ToolCall,
    ToolResult,
    UserMessage,
    broken_stream,
)

HEADERS = {"anthropic-version": "2023-06-01"}
"""The version of the protocol that the bodies here are written in."""
DEFAULT_MAX_TOKENS = 8192
"""The protocol requires a limit; every model since Claude 3.5 takes this one."""


def request_body(agent: AgentSpec, request: Request) -> JsonObject:
    """Return the JSON body of a streamed call; what the protocol needs wins over `params`."""
    body: JsonObject = {
        "max_tokens": DEFAULT_MAX_TOKENS,
        **agent.params,
        "model": agent.model,
        "system": request.system,
        "messages": _turns(request.messages),
        "stream": True,
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        is_forced = request.calling == "must" and agent.forced_tool_choice
        free = "none" if request.calling == "never" else "auto"
        body["tool_choice"] = {"type": "any" if is_forced else free}
    if request.schema is not None:
        schema = _without_lengths(request.schema)
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return body


def _without_lengths(schema: Mapping[str, Any]) -> JsonObject:
    """Return an object's schema without `maxLength`, which this protocol refuses."""
    properties = {
        name: {key: value for key, value in part.items() if key != "maxLength"}
        for name, part in schema["properties"].items()
    }
    return {**schema, "properties": properties}


def _turns(messages: tuple[Message, ...]) -> list[JsonObject]:
    """Return the messages with neighbours of one role as one: results of a reply go together."""
    turns: list[JsonObject] = []
    for message in messages:
        role, blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message) -> tuple[str, list[JsonObject]]:
    match message:
        case UserMessage(text):
            return "user", [{"type": "text", "text": text}]
        case ToolResult(call_id, text, images):
            result = {"type": "tool_result", "tool_use_id": call_id}
            return "user", [{**result, "content": _result_content(text, images)}]
        case AssistantMessage(kept=kept) if kept.blocks:
            return "assistant", list(kept.blocks)
        case AssistantMessage(text, calls):
            said = [{"type": "text", "text": text}] if text.strip() else []
            return "assistant", [*said, *map(_tool_use, calls)]


def _result_content(text: str, images: tuple[Image, ...]) -> str | list[JsonObject]:
    if not images:
        return text
    said = [{"type": "text", "text": text}] if text.strip() else []
    return [*said, *map(_picture, images)]


def _picture(image: Image) -> JsonObject:
    source = {"type": "base64", "media_type": image.media_type, "data": image.data}
    return {"type": "image", "source": source}


def _tool_use(call: ToolCall) -> JsonObject:
    arguments = json_object(call.arguments) or {}
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _tool(tool: Tool) -> JsonObject:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.parameters,
    }


class MessagesAssembler:
    """Puts a reply together from the events of a Messages stream."""

    def __init__(self) -> None:
        self.is_over = False
        self._texts: dict[int, list[str]] = {}
        self._thoughts: dict[int, JsonObject] = {}
        self._calls: dict[int, _PartialCall] = {}
        self._stop_reason: str | None = None
        self._input_tokens = 0
        self._output_tokens: int | None = None

    def feed(self, event: JsonObject) -> Delta | None:
        match event.get("type"):
            case "content_block_delta":
                return self._delta(event.get("index"), event.get("delta"))
            case "content_block_start":
                return self._block(event.get("index"), event.get("content_block"))
            case "message_stop":
                self.is_over = True
            case "message_start":
                message = event.get("message")
                self._count(message.get("usage") if isinstance(message, dict) else None)
            case "message_delta":
                self._count(event.get("usage"))
                delta = event.get("delta")
                reason = delta.get("stop_reason") if isinstance(delta, dict) else None
                self._stop_reason = reason if isinstance(reason, str) else self._stop_reason
            case _:
                pass  # pings, and whatever the protocol will add
        return None

    def _block(self, index: Any, block: Any) -> Delta | None:
        if not isinstance(block, dict) or not isinstance(index, int):
            return None
        match block.get("type"):
            case "tool_use" if len(self._calls) <= MAX_TOOL_CALLS:
                call = _PartialCall(str(block.get("id", "")), str(block.get("name", "")))
                self._calls[index] = call
                return Delta(DeltaKind.TOOL_NAME, call.name)
            case "text":
                self._texts[index] = []
                return self._said(index, block.get("text"))
            case "thinking" | "redacted_thinking":
                self._thoughts[index] = dict(block)
            case _:
                pass
        return None

    def _said(self, index: int, text: Any) -> Delta | None:
        if not isinstance(text, str) or not text:
            return None
        self._texts.setdefault(index, []).append(text)
        return Delta(DeltaKind.TEXT, text)

    def _delta(self, index: Any, delta: Any) -> Delta | None:
        if not isinstance(delta, dict) or not isinstance(index, int):
            return None
        arguments = delta.get("partial_json")
        if isinstance(arguments, str) and index in self._calls:
            self._calls[index].arguments.append(arguments)
            return Delta(DeltaKind.TOOL_ARGUMENTS, arguments)
        if index in self._thoughts:
            return self._thought(self._thoughts[index], delta)
        thinking = delta.get("thinking")
        if isinstance(thinking, str):
            return Delta(DeltaKind.THINKING, thinking)
        return self._said(index, delta.get("text"))

    def _thought(self, block: JsonObject, delta: JsonObject) -> Delta | None:
        """Add to a block of thinking, which is to go back as it came, signature included."""
        for key in ("thinking", "signature"):
            if isinstance(delta.get(key), str):
                block[key] = f"{block.get(key) or ''}{delta[key]}"
        thinking = delta.get("thinking")
        return Delta(DeltaKind.THINKING, thinking) if isinstance(thinking, str) else None

    def _count(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        if isinstance(usage.get("input_tokens"), int):
            self._input_tokens = usage["input_tokens"]
        if isinstance(usage.get("output_tokens"), int):
            self._output_tokens = usage["output_tokens"]

    def finish(self) -> Reply:
        if self._stop_reason is None:
            raise broken_stream("the provider ended the stream in the middle of a reply")
        calls = {key: self._calls[key].whole(key) for key in sorted(self._calls)}
        texts = {key: "".join(pieces) for key, pieces in self._texts.items()}
        usage = None
        if self._output_tokens is not None:
            usage = Tokens(self._input_tokens, self._output_tokens)
        kept = Kept(self._blocks(texts, calls)) if self._thoughts and calls else Kept()
        text = "".join(texts[key] for key in sorted(texts))
        return Reply(text, tuple(calls.values()), self._stop_reason, usage, kept)

    def _blocks(
        self, texts: Mapping[int, str], calls: Mapping[int, ToolCall]
    ) -> tuple[JsonObject, ...]:
        said = {key: {"type": "text", "text": text} for key, text in texts.items() if text.strip()}
        used = {key: _tool_use(call) for key, call in calls.items()}
        blocks: dict[int, JsonObject] = {**self._thoughts, **said, **used}
        return tuple(blocks[key] for key in sorted(blocks))


class _PartialCall:
    def __init__(self, id_: str, name: str) -> None:
        self.id = id_
        self.name = name
        self.arguments: list[str] = []

    def whole(self, index: int) -> ToolCall:
        # A tool without arguments sends no delta at all; "{}" is what it means.
        arguments = "".join(self.arguments) or "{}"
        return ToolCall(self.id or f"toolu_{index}", self.name, arguments)
