"""An agent's tools in one turn: what is offered, done, used up. Runs on: the run container."""

import asyncio
import json
from collections.abc import Sequence
from typing import NamedTuple

from runner.contract.spec import AgentTools
from runner.contract.text import encodable
from runner.contract.tools import Result
from runner.coordination.acting.context import middle_cut, result_chars
from runner.coordination.acting.toolbox import Toolbox
from runner.coordination.models.stream import (
    Delta,
    DeltaKind,
    JsonObject,
    Listener,
    Tool,
    ToolResult,
)

PARALLEL_CALLS = 8
"""Calls of one reply that are under way at once."""


class ReadyCall(NamedTuple):
    """A call of a tool that is there, with arguments that are a JSON object."""

    id: str
    name: str
    arguments: JsonObject


class Hands:
    """Carries calls out and counts them; made anew for every turn."""

    def __init__(
        self, toolbox: Toolbox, limits: AgentTools, listen: Listener, window_chars: int
    ) -> None:
        self._toolbox = toolbox
        self._limits = limits
        self._listen = listen
        self._window_chars = window_chars
        self._slots = asyncio.Semaphore(PARALLEL_CALLS)
        self._steps = 0
        self._returned_chars = 0

    @property
    def is_over(self) -> bool:
        """The turn has used up what it may: no call is carried out any more."""
        return (
            self._steps >= self._limits.max_steps
            or self._returned_chars >= self._limits.max_result_chars
        )

    async def offered(self) -> tuple[Tool, ...]:
        """Return the agent's tools. Raises ModelFailure, LinkLostError."""
        definitions = await self._toolbox.definitions(self._hear)
        return tuple(Tool(d.name, d.description, dict(d.parameters)) for d in definitions)

    async def carry_out(self, calls: Sequence[ReadyCall]) -> list[ToolResult]:
        """Carry the calls of one reply out side by side; the results are in the calls' order."""
        self._steps += 1
        room = self._limits.max_result_chars - self._returned_chars
        limit = min(result_chars(self._window_chars, len(calls)), max(1, room // len(calls)))
        results = await asyncio.gather(*(self._result(call, limit) for call in calls))
        self._returned_chars += sum(len(result.text) for result in results)
        return results

    async def _result(self, call: ReadyCall, limit: int) -> ToolResult:
        async with self._slots:
            arguments = _encodable_object(call.arguments)
            result = await self._toolbox.call(call.name, arguments, self._hear)
        return ToolResult(call.id, middle_cut(encodable(_shown(result)), limit), result.images)

    def _hear(self, text: str) -> None:
        self._listen(Delta(DeltaKind.TOOL_OUTPUT, text))


def _encodable_object(value: JsonObject) -> JsonObject:
    """Return a JSON object whose texts can be sent: a model can write half a character."""
    encoded: JsonObject = json.loads(encodable(json.dumps(value, ensure_ascii=False)))
    return encoded


def _shown(result: Result) -> str:
    is_refused = result.is_error and result.exit_code is None
    return f"Error: {result.text}" if is_refused else result.text
