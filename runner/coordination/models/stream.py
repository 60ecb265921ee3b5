"""What goes to a model and what comes back, in words of no provider. Runs on: the run container."""

import enum
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

from runner.contract.status import AgentErrorType
from runner.contract.tools import Image

JsonObject = dict[str, Any]
"""JSON of a provider; read with care, key by key."""


class ModelFailure(Exception):
    """A model call that brought no usable reply.

    `is_transient` tells that asking again may help: the host has already retried whatever failed
    before the first byte, so only streams that broke off are worth another call from here.
    `status` is the HTTP status with which the provider refused the request, if it did.
    """

    def __init__(
        self,
        type_: AgentErrorType,
        message: str,
        *,
        is_transient: bool = False,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.type = type_
        self.message = message
        self.is_transient = is_transient
        self.status = status


class DeltaKind(enum.Enum):
    TEXT = "text"
    THINKING = "thinking"
    TOOL_NAME = "tool_name"
    TOOL_ARGUMENTS = "tool_arguments"
    TOOL_OUTPUT = "tool_output"


class Delta(NamedTuple):
    """A piece of a reply as it comes in."""

    kind: DeltaKind
    text: str


Listener = Callable[[Delta], None]


class ToolCall(NamedTuple):
    """A call as the model made it; `arguments` is text that claims to be JSON."""

    id: str
    name: str
    arguments: str
    extra: JsonObject | None = None
    """What the provider wants back with the call, unchanged (Gemini's thought signatures)."""


class Kept(NamedTuple):
    """What a provider wants back unchanged with a reply that called tools."""

    blocks: tuple[JsonObject, ...] = ()
    """Messages: all blocks of a reply that holds thinking, in their order."""
    fields: Mapping[str, Any] = MappingProxyType({})
    """Chat: fields of the message beside its text and calls."""


NOTHING_KEPT = Kept()
MAX_TOOL_CALLS = 64
"""More in one reply are not carried out; an assembler keeps one more, so that it is seen."""


class Tokens(NamedTuple):
    input: int
    output: int


class Reply(NamedTuple):
    """A whole reply; `finish_reason` is the provider's word."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Tokens | None = None
    kept: Kept = NOTHING_KEPT


class Tool(NamedTuple):
    name: str
    description: str
    parameters: JsonObject
    """JSON schema of the arguments."""


class UserMessage(NamedTuple):
    text: str
    is_result: bool = False
    """What a tool returned to a model that calls tools by choice."""


class AssistantMessage(NamedTuple):
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    kept: Kept = NOTHING_KEPT


class ToolResult(NamedTuple):
    call_id: str
    text: str
    images: tuple[Image, ...] = ()


Message = UserMessage | AssistantMessage | ToolResult


Calling = Literal["must", "may", "never"]
"""Whether a model has to call a tool; providers that cannot force it are left to choose."""


class Request(NamedTuple):
    """One model call. With `tools` the model may call them; with `schema` its text is JSON."""

    system: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    schema: Mapping[str, Any] | None = None
    calling: Calling = "must"
    """With `tools` only. `never`: they are shown because earlier messages have calls of them."""


class Assembler(Protocol):
    """Puts a reply together from the events of one stream."""

    is_over: bool
    """The provider has said that nothing more comes."""

    def feed(self, event: JsonObject) -> Delta | None:
        """Take one event; return what to show of it. Raises ModelFailure for an error event."""

    def finish(self) -> Reply:
        """Return the whole reply; ModelFailure if the stream ended before the reply did."""


def json_text(value: object) -> str:
    """Return JSON as it is sent: other scripts than Latin as they are, not as escapes."""
    return json.dumps(value, ensure_ascii=False)


def broken_stream(why: str) -> ModelFailure:
    """Return the failure of a stream that stopped making sense half-way."""
    return ModelFailure(AgentErrorType.PROVIDER, why, is_transient=True)
