"""What of a conversation is sent, so that it fits the model's window. Runs on: the run container.

The rule: first the oldest results of tools are replaced by a note, then the oldest texts and call
arguments of the model. The system message, the question with the answers, reminders, and the
last reply with its results always stay. Sizes are characters; a token is taken as three.
"""

from typing import Any

from runner.contract.spec import AgentSpec
from runner.coordination.models.decisions import json_object
from runner.coordination.models.stream import (
    AssistantMessage,
    Message,
    Request,
    ToolCall,
    ToolResult,
    UserMessage,
    json_text,
)

DEFAULT_CONTEXT_TOKENS = 128_000
CHARS_PER_TOKEN = 3
"""Fewer than in English prose: code, numbers and other languages have more tokens."""
DEFAULT_REPLY_TOKENS = 8192
IMAGE_CHARS = 5000
"""What a picture counts: providers take up to about 1600 tokens for one."""
MAX_IMAGES = 8
MAX_IMAGE_BYTES = 12 * 1024 * 1024
"""Of all pictures in one request, as base64: a request has 32 MiB at most."""
MESSAGE_CHARS = 20
"""What a message takes beside its text."""
_MIN_RESULT_CHARS = 500
_CUT_AT = 200
"""Arguments up to this length stay."""


def window_chars(agent: AgentSpec) -> int:
    """Return how much a request may hold: the model's window without room for its reply."""
    tokens = agent.context_tokens or DEFAULT_CONTEXT_TOKENS
    wanted = agent.params.get("max_completion_tokens") or agent.params.get("max_tokens")
    reply = wanted if isinstance(wanted, int) else DEFAULT_REPLY_TOKENS
    return CHARS_PER_TOKEN * (tokens - min(reply, tokens // 2))


def result_chars(window: int, results: int) -> int:
    """Return how long each of some results of one reply may be: half of the window together."""
    return max(_MIN_RESULT_CHARS, window // 2 // max(1, results))


def middle_cut(text: str, limit: int) -> str:
    """Return `text` without its middle, in which the number of missing characters stands."""
    if len(text) <= limit:
        return text
    note = f"\n[… {len(text) - limit} characters are left out here …]\n"
    kept = max(0, limit - len(note))
    head = kept - kept // 3
    return f"{text[:head]}{note}{text[len(text) - kept // 3 :]}"


def fitted(request: Request, limit: int) -> Request:
    """Return the request with old parts shortened until it has at most `limit` characters.

    If everything that may be shortened is, and it is still too long, it is returned like that.
    """
    messages = _with_few_images(list(request.messages))
    excess = _fixed_size(request) + sum(map(size, messages)) - limit
    last = _last_reply(messages)
    for shorter in (_shorter_result, _shorter_saying):
        for index in range(1, last):
            if excess <= 0:
                break
            new = shorter(messages[index])
            excess -= size(messages[index]) - size(new)
            messages[index] = new
    return request._replace(messages=tuple(messages))


def fitted_harder(request: Request, limit: int) -> Request:
    """Return the request for a provider that found it too long.

    Here the last results are cut too, in their middle, each to an even share.
    """
    shorter = fitted(request, limit)
    excess = request_size(shorter) - limit
    last = _last_reply(list(shorter.messages))
    results = [m for m in shorter.messages[last:] if _is_result(m)]
    if excess <= 0 or not results:
        return shorter
    share = (sum(map(size, results)) - excess) // len(results) - MESSAGE_CHARS
    share = max(_MIN_RESULT_CHARS, share)
    kept, cut = shorter.messages[:last], (_cut(m, share) for m in shorter.messages[last:])
    return shorter._replace(messages=(*kept, *cut))


def without_images(request: Request) -> Request:
    """Return the request for a model that does not see."""
    messages = map(_blind, request.messages)
    return request._replace(messages=tuple(messages))


def has_images(request: Request) -> bool:
    return any(isinstance(m, ToolResult) and m.images for m in request.messages)


def request_size(request: Request) -> int:
    """Return about how many characters a request has."""
    return _fixed_size(request) + sum(map(size, request.messages))


def size(message: Message) -> int:
    """Return about how many characters of a request a message takes."""
    match message:
        case UserMessage(text):
            return MESSAGE_CHARS + len(text)
        case ToolResult(_, text, images):
            return MESSAGE_CHARS + len(text) + IMAGE_CHARS * len(images)
        case AssistantMessage(text, calls, kept):
            said = sum(len(c.name) + len(c.arguments) + MESSAGE_CHARS for c in calls)
            extras = sum(len(json_text(c.extra)) for c in calls if c.extra)
            fields = len(json_text(dict(kept.fields)))
            whole = len(text) + said + extras + fields
            return MESSAGE_CHARS + (len(json_text(kept.blocks)) if kept.blocks else whole)


def _fixed_size(request: Request) -> int:
    tools = sum(
        len(t.name) + len(t.description) + len(json_text(t.parameters)) for t in request.tools
    )
    schema = len(json_text(dict(request.schema))) if request.schema else 0
    return len(request.system) + tools + schema


def _last_reply(messages: list[Message]) -> int:
    """Return the index of the model's last message; 0 without one."""
    said = [i for i, message in enumerate(messages) if isinstance(message, AssistantMessage)]
    return said[-1] if said else 0


def _is_result(message: Message) -> bool:
    return isinstance(message, ToolResult) or (
        isinstance(message, UserMessage) and message.is_result
    )


def _note(length: int) -> str:
    return f"[shortened: {length} characters]"


def _shorter(text: str) -> str:
    note = _note(len(text))
    return note if len(note) < len(text) else text


def _shorter_result(message: Message) -> Message:
    if isinstance(message, ToolResult):
        return message._replace(text=_shorter(message.text), images=())
    if isinstance(message, UserMessage) and message.is_result:
        return message._replace(text=_shorter(message.text))
    return message


def _shorter_saying(message: Message) -> Message:
    """Shorten what the model said; thinking has to go back with the last reply only."""
    if not isinstance(message, AssistantMessage):
        return message
    calls = tuple(call._replace(arguments=_shorter_arguments(call)) for call in message.tool_calls)
    shorter = AssistantMessage(_shorter(message.text), calls, message.kept._replace(blocks=()))
    return shorter if size(shorter) < size(message) else message


def _shorter_arguments(call: ToolCall) -> str:
    arguments: dict[str, Any] | None = json_object(call.arguments)
    if arguments is None or len(call.arguments) <= _CUT_AT:
        return call.arguments
    shown = {key: _shorter_value(value) for key, value in arguments.items()}
    return json_text(shown)


def _shorter_value(value: Any) -> Any:
    text = value if isinstance(value, str) else json_text(value)
    return _note(len(text)) if len(text) > _CUT_AT // 2 else value


def _cut(message: Message, limit: int) -> Message:
    if isinstance(message, ToolResult):
        return message._replace(text=middle_cut(message.text, limit), images=())
    if isinstance(message, UserMessage) and message.is_result:
        return message._replace(text=middle_cut(message.text, limit))
    return message


def _blind(message: Message) -> Message:
    if not isinstance(message, ToolResult) or not message.images:
        return message
    text = f"{message.text}\n[{len(message.images)} pictures that you cannot see]".strip()
    return message._replace(text=text, images=())


def _with_few_images(messages: list[Message]) -> list[Message]:
    """Return the messages with the newest pictures only."""
    count = taken = 0
    for index, message in reversed(list(enumerate(messages))):
        if not isinstance(message, ToolResult) or not message.images:
            continue
        count += len(message.images)
        taken += sum(len(image.data) for image in message.images)
        if count > MAX_IMAGES or taken > MAX_IMAGE_BYTES:
            messages[index] = _blind(message)
    return messages
