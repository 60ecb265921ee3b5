"""OpenAI Chat Completions: request bodies and streamed replies. Runs on: the run container.

https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Sequence
from typing import Any

from runner.contract.spec import AgentSpec
from runner.contract.tools import Image
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

HEADERS: dict[str, str] = {}


def request_body(agent: AgentSpec, request: Request) -> JsonObject:
    """Return the JSON body of a streamed call; what the protocol needs wins over `params`."""
    body: JsonObject = {
        **agent.params,
        "model": agent.model,
        "messages": [_system(request.system), *_messages(request.messages)],
        "stream": True,
    }
    if agent.stream_usage:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        is_forced = request.calling == "must" and agent.forced_tool_choice
        free = "none" if request.calling == "never" else "auto"
        body["tool_choice"] = "required" if is_forced else free
    if request.schema is not None:
        # Without `strict`: OpenAI refuses `maxLength` in a strict schema, and the servers that
        # need the length (llama.cpp, vLLM) enforce a schema in any case.
        schema = {"name": "decision", "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _system(text: str) -> JsonObject:
    return {"role": "system", "content": text}


def _messages(messages: Sequence[Message]) -> list[JsonObject]:
    """Return the messages; pictures follow the results of a reply, which hold text only."""
    shown: list[JsonObject] = []
    images: list[Image] = []
    for message in messages:
        if isinstance(message, ToolResult):
            images += message.images
        elif images:
            said = [message.text] if isinstance(message, UserMessage) else []
            shown.append(_pictures(images, said))
            images = []
            if said:
                continue
        shown.append(_message(message))
    return [*shown, _pictures(images, ())] if images else shown


def _pictures(images: Sequence[Image], said: Sequence[str]) -> JsonObject:
    texts = ["Pictures that the tools returned:", *said]
    urls = [f"data:{image.media_type};base64,{image.data}" for image in images]
    parts: list[JsonObject] = [{"type": "text", "text": text} for text in texts]
    parts[1:1] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": parts}


def _message(message: Message) -> JsonObject:
    match message:
        case UserMessage(text):
            return {"role": "user", "content": text}
        case ToolResult(call_id, text):
            return {"role": "tool", "tool_call_id": call_id, "content": text}
        case AssistantMessage(text, (), kept):
            return {"role": "assistant", "content": text, **kept.fields}
        case AssistantMessage(text, calls, kept):
            return {
                "role": "assistant",
                "content": text or None,
                "tool_calls": [_tool_call(call) for call in calls],
                **kept.fields,
            }


def _tool_call(call: ToolCall) -> JsonObject:
    function = {"name": call.name, "arguments": call.arguments}
    shown = {"id": call.id, "type": "function", "function": function}
    return shown if call.extra is None else {**shown, "extra_content": call.extra}


def _tool(tool: Tool) -> JsonObject:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function}


class ChatAssembler:
    """Puts a reply together from `chat.completion.chunk` events."""

    def __init__(self) -> None:
        self.is_over = False  # `data: [DONE]` says so, which is no JSON
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, _PartialCall] = {}
        self._finish_reason: str | None = None
        self._usage: Tokens | None = None

    def feed(self, event: JsonObject) -> Delta | None:
        usage = event.get("usage")
        if isinstance(usage, dict):
            self._usage = _tokens(usage)
        choices = event.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return None
        choice = choices[0]
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            self._finish_reason = reason
        delta = choice.get("delta")
        return self._delta(delta) if isinstance(delta, dict) else None

    def _delta(self, delta: JsonObject) -> Delta | None:
        content = delta.get("content")
        if isinstance(content, str) and content:
            self._text.append(content)
            return Delta(DeltaKind.TEXT, content)
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            return self._tool_deltas(calls)
        # Two spellings of servers that show a model's reasoning; OpenAI itself does not.
        reasoning = delta.get("reasoning_content")
        if isinstance(reasoning, str):
            self._reasoning.append(reasoning)
        thinking = reasoning or delta.get("reasoning")
        return Delta(DeltaKind.THINKING, thinking) if isinstance(thinking, str) else None

    def _tool_deltas(self, calls: list[Any]) -> Delta | None:
        shown = None
        for item in calls:
            if isinstance(item, dict):
                shown = self._tool_delta(item) or shown
        return shown

    def _tool_delta(self, item: JsonObject) -> Delta | None:
        index = item.get("index")
        key = index if isinstance(index, int) else len(self._calls)
        if key not in self._calls and len(self._calls) > MAX_TOOL_CALLS:
            return None
        call = self._calls.setdefault(key, _PartialCall())
        if isinstance(item.get("id"), str):
            call.id = item["id"]
        if isinstance(item.get("extra_content"), dict):
            call.extra = item["extra_content"]
        function = item.get("function")
        if not isinstance(function, dict):
            return None
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(name, str) and name:
            call.name = name
        if isinstance(arguments, str) and arguments:
            call.arguments.append(arguments)
            return Delta(DeltaKind.TOOL_ARGUMENTS, arguments)
        return Delta(DeltaKind.TOOL_NAME, name) if isinstance(name, str) and name else None

    def finish(self) -> Reply:
        if self._finish_reason is None:
            raise broken_stream("the provider ended the stream in the middle of a reply")
        calls = tuple(self._calls[key].whole(key) for key in sorted(self._calls))
        # DeepSeek refuses calls that come back without the reasoning that led to them.
        fields = {"reasoning_content": "".join(self._reasoning)} if self._reasoning else {}
        text = "".join(self._text)
        return Reply(text, calls, self._finish_reason, self._usage, Kept(fields=fields))


class _PartialCall:
    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.extra: JsonObject | None = None

    def whole(self, index: int) -> ToolCall:
        id_ = self.id or f"call_{index}"
        return ToolCall(id_, self.name, "".join(self.arguments), self.extra)


def _tokens(usage: JsonObject) -> Tokens | None:
    taken, given = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if isinstance(taken, int) and isinstance(given, int):
        return Tokens(taken, given)
    return None
