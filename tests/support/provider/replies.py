"""What a scripted provider can answer, good and bad, as values. Runs on: host.

All are frozen and can be written in JSON with their `kind`; text goes in the providers' own shapes.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue
from pydantic.dataclasses import dataclass

FOREVER = 1_000_000_000
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Tokens:
    """Usage to report; `cached_tokens` are part of `input_tokens`."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, config=_STRICT)
class ToolCall:
    name: str
    arguments: str
    """As the model wrote them: JSON, or not."""


@dataclass(frozen=True, config=_STRICT)
class Text:
    """Plain text. A character U+DC80…U+DCFF travels as that one invalid byte."""

    text: str
    tokens_per_chunk: int = 16
    delay_seconds_per_chunk: float = 0.0
    usage: Tokens | None = None
    finish: Literal["stop", "length"] = "stop"
    kind: Literal["text"] = "text"


@dataclass(frozen=True, config=_STRICT)
class NewAnswer:
    """A new answer, by tool, by JSON schema or as text, whichever the request offers."""

    content: str
    saying: str = ""
    """Text that comes before the tool call."""
    tokens_per_chunk: int = 16
    delay_seconds_per_chunk: float = 0.0
    usage: Tokens | None = None
    kind: Literal["new_answer"] = "new_answer"


FIRST = "*"


@dataclass(frozen=True, config=_STRICT)
class Vote:
    """A vote, by tool or by JSON schema; the label is not checked against what is offered.

    `FIRST` is the first label that is offered: which agent answers first is a matter of luck.
    """

    agent_id: str
    reason: str = "It is right."
    saying: str = ""
    tokens_per_chunk: int = 16
    delay_seconds_per_chunk: float = 0.0
    usage: Tokens | None = None
    kind: Literal["vote"] = "vote"


@dataclass(frozen=True, config=_STRICT)
class ToolCalls:
    """Any tool calls, unknown tools and nonsense included."""

    calls: tuple[ToolCall, ...]
    saying: str = ""
    thinking: str = ""
    """Comes first; messages: signed, and to be sent back. chat: as `reasoning_content`."""
    tokens_per_chunk: int = 16
    delay_seconds_per_chunk: float = 0.0
    usage: Tokens | None = None
    kind: Literal["tool_calls"] = "tool_calls"


@dataclass(frozen=True, config=_STRICT)
class BrokenArguments:
    """A call of new_answer whose arguments stop in the middle of a string."""

    kind: Literal["broken_arguments"] = "broken_arguments"


@dataclass(frozen=True, config=_STRICT)
class Cooperate:
    """Answer where there is nothing to vote on, vote for the first where there is, else text."""

    kind: Literal["cooperate"] = "cooperate"


@dataclass(frozen=True, config=_STRICT)
class Status:
    """An HTTP status with the provider's own error body, `times` times in a row."""

    status: int
    headers: dict[str, str] = Field(default_factory=dict)
    body: JsonValue = None
    times: int = 1
    kind: Literal["status"] = "status"


@dataclass(frozen=True, config=_STRICT)
class StreamError:
    """The provider's own error event inside a stream that began well."""

    message: str = "Overloaded"
    after_chunks: int = 1
    kind: Literal["stream_error"] = "stream_error"


@dataclass(frozen=True, config=_STRICT)
class Silence:
    """Accept and say nothing until the client is gone; `after_chunks` sends that many first."""

    after_chunks: int | None = None
    kind: Literal["silence"] = "silence"


@dataclass(frozen=True, config=_STRICT)
class CloseAfter:
    """Half an answer: `chunks` events of the turn, then the connection is cut."""

    chunks: int
    text: str = "Half of this answer is missing."
    kind: Literal["close_after"] = "close_after"


@dataclass(frozen=True, config=_STRICT)
class Garbage:
    """Status 200 and any bytes, whole, under any content type."""

    data: bytes = b"}{ not json"
    content_type: str | None = None
    """None: what the request asked for (an event stream, or JSON)."""
    headers: dict[str, str] = Field(default_factory=dict)
    kind: Literal["garbage"] = "garbage"


@dataclass(frozen=True, config=_STRICT)
class Html:
    """A log-in page with status 200, as a company proxy shows."""

    kind: Literal["html"] = "html"


@dataclass(frozen=True, config=_STRICT)
class Endless:
    """A stream without an end; `lines=False`: one line without an end."""

    lines: bool = True
    chunk: str = "and so on, "
    kind: Literal["endless"] = "endless"


@dataclass(frozen=True, config=_STRICT)
class RefuseConnection:
    """Reset the connection instead of answering (for a refused port: `refused_url`)."""

    kind: Literal["refuse_connection"] = "refuse_connection"


@dataclass(frozen=True, config=_STRICT)
class Raw:
    """Bytes as they are, in place of an HTTP response; then the connection is closed."""

    data: bytes
    kind: Literal["raw"] = "raw"


@dataclass(frozen=True, config=_STRICT)
class Hold:
    """Wait until the test calls `release(name)`, then give the reply."""

    name: str
    then: "Reply"
    kind: Literal["hold"] = "hold"


Turnlike = Text | NewAnswer | Vote | ToolCalls | BrokenArguments | Cooperate
Reply = Annotated[
    Text
    | NewAnswer
    | Vote
    | ToolCalls
    | BrokenArguments
    | Cooperate
    | Status
    | StreamError
    | Silence
    | CloseAfter
    | Garbage
    | Html
    | Endless
    | RefuseConnection
    | Raw
    | Hold,
    Field(discriminator="kind"),
]
