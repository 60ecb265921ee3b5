"""Ask a model and carry out its tool calls until a reply has none. Runs on: the run container."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from runner.contract.text import encodable
from runner.contract.tools import Result
from runner.coordination.acting.toolbox import Toolbox
from runner.coordination.models.decisions import json_object
from runner.coordination.models.stream import (
    AssistantMessage,
    Delta,
    DeltaKind,
    Listener,
    Message,
    Reply,
    Request,
    Tool,
    ToolCall,
    ToolResult,
)

MAX_STEPS = 50
"""Replies with tool calls in one turn."""
_DECIDE_ALONE = "Not taken: this call decides your turn. Make it alone, after the other results."
_NO_MORE = "No more tool calls in this turn: decide now."

Ask = Callable[[Request], Awaitable[Reply]]


class Worked(NamedTuple):
    """A reply without tool calls to carry out, and the conversation before it."""

    reply: Reply
    messages: tuple[Message, ...]


async def work(ask: Ask, request: Request, toolbox: Toolbox | None, listen: Listener) -> Worked:
    """Return the first reply that acts no more."""
    if toolbox is None:
        return Worked(await ask(request), request.messages)
    definitions = await toolbox.definitions()
    acting = tuple(Tool(d.name, d.description, dict(d.parameters)) for d in definitions)
    names = frozenset(tool.name for tool in acting)
    messages = request.messages
    for step in itertools.count():
        offered = acting if step < MAX_STEPS else ()
        reply = await ask(
            request._replace(
                messages=messages, tools=(*request.tools, *offered), must_call=bool(request.tools)
            )
        )
        if not any(call.name in names for call in reply.tool_calls):
            return Worked(reply, messages)
        if step > MAX_STEPS:
            return Worked(reply, messages)
        messages = await _acted(messages, reply, names, toolbox, listen, is_last=not offered)
    raise AssertionError("unreachable")


async def _acted(
    messages: tuple[Message, ...],
    reply: Reply,
    names: frozenset[str],
    toolbox: Toolbox,
    listen: Listener,
    *,
    is_last: bool,
) -> tuple[Message, ...]:
    results = await asyncio.gather(
        *(_result(call, names, toolbox, listen, is_last=is_last) for call in reply.tool_calls)
    )
    return (*messages, _said(reply), *results)


def _said(reply: Reply) -> AssistantMessage:
    calls: Sequence[ToolCall] = [
        call._replace(arguments=encodable(call.arguments))
        if json_object(call.arguments) is not None
        else call._replace(arguments="{}")
        for call in reply.tool_calls
    ]
    return AssistantMessage(encodable(reply.text), tuple(calls))


async def _result(
    call: ToolCall, names: frozenset[str], toolbox: Toolbox, listen: Listener, *, is_last: bool
) -> ToolResult:
    if is_last:
        return ToolResult(call.id, _NO_MORE)
    if call.name not in names:
        return ToolResult(call.id, _DECIDE_ALONE)
    arguments = json_object(call.arguments)
    if arguments is None:
        return ToolResult(call.id, "The arguments are no JSON object.")
    result = await toolbox.call(
        call.name, arguments, lambda text: listen(Delta(DeltaKind.TOOL_OUTPUT, text))
    )
    return ToolResult(call.id, encodable(_shown(result)))


def _shown(result: Result) -> str:
    return f"Error: {result.text}" if result.is_error and result.exit_code is None else result.text
