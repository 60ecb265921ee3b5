"""What goes to a model and what comes back, in words of no provider. Runs on: the run container."""

import enum
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from runner.contract.status import AgentErrorType

JsonObject = dict[str, Any]
"""JSON of a provider; read with care, key by key."""


class ModelFailure(Exception):
    """A model call that brought no usable reply.

    `is_transient` tells that asking again may help: the host has already retried whatever failed
    before the first byte, so only streams that broke off are worth another call from here.
    """

    def __init__(self, type_: AgentErrorType, message: str, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.type = type_
        self.message = message
        self.is_transient = is_transient


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


class Tokens(NamedTuple):
    input: int
    output: int


class Reply(NamedTuple):
    """A whole reply; `finish_reason` is the provider's word."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Tokens | None = None


class Tool(NamedTuple):
    name: str
    description: str
    parameters: JsonObject
    """JSON schema of the arguments."""


class UserMessage(NamedTuple):
    text: str


class AssistantMessage(NamedTuple):
    text: str
    tool_calls: tuple[ToolCall, ...] = ()


class ToolResult(NamedTuple):
    call_id: str
    text: str


Message = UserMessage | AssistantMessage | ToolResult


class Request(NamedTuple):
    """One model call. With `tools` the model may call them; with `schema` its text is JSON."""

    system: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    schema: Mapping[str, Any] | None = None
    must_call: bool = True
    """With `tools`: one of them has to be called, where the provider can force that."""


class Assembler(Protocol):
    """Puts a reply together from the events of one stream."""

    is_over: bool
    """The provider has said that nothing more comes."""

    def feed(self, event: JsonObject) -> Delta | None:
        """Take one event; return what to show of it. Raises ModelFailure for an error event."""

    def finish(self) -> Reply:
        """Return the whole reply; ModelFailure if the stream ended before the reply did."""


def broken_stream(why: str) -> ModelFailure:
    """Return the failure of a stream that stopped making sense half-way."""
    return ModelFailure(AgentErrorType.PROVIDER, why, is_transient=True)
