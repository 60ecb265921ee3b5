"""From a reply to what the model says in this request: text and tool calls. Runs on: host."""

import json
from dataclasses import replace
from typing import Any, NamedTuple, assert_never

from tests.support.provider.replies import (
    FIRST,
    BrokenArguments,
    Cooperate,
    NewAnswer,
    Text,
    Tokens,
    ToolCall,
    ToolCalls,
    Turnlike,
    Vote,
)
from tests.support.provider.request import ModelRequest

CHARACTERS_PER_TOKEN = 4


class Turn(NamedTuple):
    """One turn of the model, before it is put into a dialect."""

    text: str = ""
    thinking: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Tokens | None = None
    finish: str = "stop"
    characters_per_chunk: int = 16 * CHARACTERS_PER_TOKEN
    delay_seconds_per_chunk: float = 0.0


class Said(NamedTuple):
    turn: Turn
    delivered: bool
    """False: only the choice of a new answer was asked for; its text is still to come."""


def say(reply: Turnlike, request: ModelRequest) -> Said:
    """Return the turn that gives `reply` in the way that `request` offers."""
    match reply:
        case Cooperate():
            return say(cooperative(request), request)
        case BrokenArguments():
            return Said(Turn(calls=(ToolCall("new_answer", '{"content": "cut of'),)), True)
        case Text():
            return Said(_paced(reply, Turn(reply.text, finish=reply.finish)), True)
        case ToolCalls():
            return Said(_paced(reply, Turn(reply.saying, reply.thinking, reply.calls)), True)
        case NewAnswer() | Vote():
            turn, delivered = _decide(reply, request)
            return Said(_paced(reply, turn), delivered)
        case _:
            assert_never(reply)


def cooperative(request: ModelRequest) -> Turnlike:
    """Return what a well-behaved model does: answer, vote for the first answer, or present."""
    if request.step == "vote":
        return Vote(request.labels[0], f"{request.labels[0]} answers the question.")
    if request.step == "answer":
        return NewAnswer(f"The answer of {request.model}.")
    return Text(f"The final answer of {request.model}.")


def _paced(reply: Text | NewAnswer | Vote | ToolCalls, turn: Turn) -> Turn:
    return turn._replace(
        usage=reply.usage,
        characters_per_chunk=reply.tokens_per_chunk * CHARACTERS_PER_TOKEN,
        delay_seconds_per_chunk=reply.delay_seconds_per_chunk,
    )


def _resolved(reply: NewAnswer | Vote, request: ModelRequest) -> NewAnswer | Vote:
    """Return a vote for `FIRST` as one for the first answer that is offered."""
    if isinstance(reply, Vote) and reply.agent_id == FIRST and request.labels:
        return replace(reply, agent_id=request.labels[0])
    return reply


def _decide(scripted: NewAnswer | Vote, request: ModelRequest) -> Said:
    reply = _resolved(scripted, request)
    if request.schema is not None:
        return _decide_by_schema(reply, request.schema)
    if request.tools:
        return Said(Turn(reply.saying, calls=(_tool_call(reply),)), True)
    if isinstance(reply, NewAnswer):
        return Said(Turn(reply.content), True)
    # Plain text was asked for where the script wanted to vote: a model presents, then.
    return Said(Turn(f"The final answer of {request.model}."), False)


def _tool_call(reply: NewAnswer | Vote) -> ToolCall:
    if isinstance(reply, NewAnswer):
        return ToolCall("new_answer", dumps({"content": reply.content}))
    return ToolCall("vote", dumps({"agent_id": reply.agent_id, "reason": reply.reason}))


def _decide_by_schema(reply: NewAnswer | Vote, schema: dict[str, Any]) -> Said:
    values = _fill(_branch(schema, reply), reply)
    complete = isinstance(reply, Vote) or reply.content in values.values()
    return Said(Turn(dumps(values)), complete)


def _branch(schema: dict[str, Any], reply: NewAnswer | Vote) -> dict[str, Any]:
    branches: list[dict[str, Any]] = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return next((b for b in branches if f'"{reply.kind}"' in json.dumps(b)), branches[0])


def _fill(schema: dict[str, Any], reply: NewAnswer | Vote) -> dict[str, Any]:
    return {name: _value(name, part, reply) for name, part in schema.get("properties", {}).items()}


def _value(name: str, part: dict[str, Any], reply: NewAnswer | Vote) -> Any:
    if "const" in part:
        return part["const"]
    if "enum" in part:
        if reply.kind in part["enum"]:
            return reply.kind
        return reply.agent_id if isinstance(reply, Vote) else part["enum"][-1]
    if isinstance(reply, Vote):
        return reply.agent_id if name == "agent_id" else _cut(reply.reason, part)
    return reply.content if name in {"content", "answer"} else _cut("It can be better.", part)


def _cut(text: str, part: dict[str, Any]) -> str:
    return text[: part.get("maxLength", len(text))]


def dumps(value: Any) -> str:
    """Return JSON as providers write it: UTF-8 rather than escapes."""
    return json.dumps(value, ensure_ascii=False)


def encode(text: str) -> bytes:
    """Return UTF-8; U+DC80…U+DCFF become the invalid bytes they stand for."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def pieces(text: str, size: int) -> list[str]:
    """Return `text` cut into parts of at most `size` characters; none for an empty text."""
    return [text[i : i + size] for i in range(0, len(text), size)]


def tokens_of(turn: Turn, request: ModelRequest) -> Tokens:
    """Return the usage of a turn: as scripted, else counted at four characters a token."""
    if turn.usage is not None:
        return turn.usage
    said = len(turn.text) + sum(len(call.name) + len(call.arguments) for call in turn.calls)
    return Tokens(
        max(1, len(request.text) // CHARACTERS_PER_TOKEN), max(1, said // CHARACTERS_PER_TOKEN)
    )
