"""Ask a model and carry out its tool calls until a reply has none. Runs on: the run container."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from runner.contract.text import encodable
from runner.coordination.acting.hands import Hands, ReadyCall
from runner.coordination.models.decisions import cut_off_note, json_object
from runner.coordination.models.stream import (
    MAX_TOOL_CALLS,
    AssistantMessage,
    Calling,
    Kept,
    Message,
    Reply,
    Request,
    Tool,
    ToolCall,
    ToolResult,
)

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What every provider takes back as the name of a tool that was called."""
OVER = "No more tool calls in this turn, its limit is reached: decide now with what you have."
_DECIDE_ALONE = "Not taken: this call ends your turn. Make it again, alone, after all other work."

Ask = Callable[[Request], Awaitable[Reply]]


class Worked(NamedTuple):
    """A reply without tool calls to carry out, and the conversation before it."""

    reply: Reply
    messages: tuple[Message, ...]
    has_acted: bool = False
    """Calls were carried out before it."""
    refused: str | None = None
    """Why nothing that the reply calls for could be done."""


async def work(ask: Ask, request: Request, hands: Hands | None) -> Worked:
    """Return the first reply that acts no more; `request.tools` are the decisions it may call."""
    if hands is None:
        return Worked(await ask(request), request.messages)
    deciding = frozenset(tool.name for tool in request.tools)
    acting = tuple(tool for tool in await hands.offered() if tool.name not in deciding)
    known = {tool.name for tool in acting}
    messages, has_acted = request.messages, False
    while True:
        reply = await ask(_equipped(request, messages, acting, is_over=hands.is_over))
        if all(call.name in deciding for call in reply.tool_calls):
            return Worked(reply, messages, has_acted)
        problems = [_problem(call, known, deciding, reply) for call in reply.tool_calls]
        if refused := _refusal(problems, is_over=hands.is_over):
            return Worked(reply, messages, has_acted, refused)
        messages = (*messages, *await _carried_out(reply, problems, hands))
        has_acted = True


def _equipped(
    request: Request, messages: tuple[Message, ...], acting: tuple[Tool, ...], *, is_over: bool
) -> Request:
    """Return the next request; once it is over only decisions are offered.

    Where there are none, the tools stay in sight: providers refuse earlier calls without them.
    """
    tools = (*request.tools, *acting)
    calling: Calling = "must" if request.tools else "may"
    if is_over:
        tools, calling = (request.tools, "must") if request.tools else (acting, "never")
    return request._replace(messages=messages, tools=tools, calling=calling)


def _problem(call: ToolCall, known: set[str], deciding: frozenset[str], reply: Reply) -> str | None:
    """Return why a call is not carried out; None: it is."""
    if call.name in deciding:
        return _DECIDE_ALONE
    if call.name not in known:
        return f"There is no tool {call.name[:64]!r}; there are: {', '.join(sorted(known))}."
    if json_object(call.arguments) is None:
        return f"The arguments of {call.name} are no JSON object.{cut_off_note(reply)}"
    return None


def _refusal(problems: Sequence[str | None], *, is_over: bool) -> str | None:
    """Return why nothing of a reply is carried out; None where something is."""
    if len(problems) > MAX_TOOL_CALLS:
        return f"More than {MAX_TOOL_CALLS} tools were called at once: call fewer."
    if is_over:
        return OVER
    said = [problem for problem in problems if problem is not None]
    return " ".join(dict.fromkeys(said)) if len(said) == len(problems) else None


async def _carried_out(
    reply: Reply, problems: Sequence[str | None], hands: Hands
) -> tuple[Message, ...]:
    """Return the reply and the results of its calls, in their order."""
    calls = [call._replace(id=id_) for call, id_ in zip(reply.tool_calls, _ids(reply), strict=True)]
    told = dict(zip((call.id for call in calls), problems, strict=True))
    ready = [_ready(call) for call in calls if told[call.id] is None]
    results = {result.call_id: result for result in await hands.carry_out(ready)}
    presentable = [_presentable(call) for call in calls if TOOL_NAME.fullmatch(call.name)]
    answers = [
        results.get(call.id) or ToolResult(call.id, told[call.id] or "") for call in presentable
    ]
    if hands.is_over:
        answers[-1] = answers[-1]._replace(text=f"{answers[-1].text}\n\n{OVER}")
    said = AssistantMessage(encodable(reply.text), tuple(presentable), _kept(reply, presentable))
    return (said, *answers)


def _kept(reply: Reply, presentable: Sequence[ToolCall]) -> Kept:
    """Return what goes back unchanged; blocks only where they hold the very calls that do."""
    is_whole = [call.id for call in presentable] == [call.id for call in reply.tool_calls]
    return reply.kept if is_whole else reply.kept._replace(blocks=())


def _ids(reply: Reply) -> list[str]:
    """Return the calls' ids, made different where a server repeats them."""
    ids = [call.id for call in reply.tool_calls]
    return ids if len(set(ids)) == len(ids) else [f"call_{n}" for n in range(len(ids))]


def _ready(call: ToolCall) -> ReadyCall:
    return ReadyCall(call.id, call.name, json_object(call.arguments) or {})


def _presentable(call: ToolCall) -> ToolCall:
    is_object = json_object(call.arguments) is not None
    return call._replace(arguments=encodable(call.arguments) if is_object else "{}")
