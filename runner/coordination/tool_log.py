"""What agents' tool calls are and were, for people. Runs on: the run container."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from pydantic import JsonValue

from runner.contract.events import EventType
from runner.contract.status import ToolInUse
from runner.contract.text import one_line
from runner.contract.tools import Result
from runner.coordination.state import Happened

MAX_LISTED = 1000
"""Calls of one agent that are events of their own; the rest is counted."""
_PREVIEW_CHARS = 200
_SHOWN_CHARS = 2000
"""Of a result in the agent's output, where nothing was heard while the tool was at work."""


class WatchedCall:
    """A tool call under way; whoever carries it out notes what came of it."""

    def __init__(self, tool: str, arguments: Mapping[str, JsonValue], now: float) -> None:
        self.tool = one_line(tool, 64)
        self.preview = _preview(arguments)
        self.since = now
        self.began = time.monotonic()
        self.was_heard = False
        """It has printed something already."""
        self.result: Result | None = None
        """None: nobody waits for it any more."""


Watch = Callable[[str, Mapping[str, JsonValue]], AbstractContextManager[WatchedCall]]
"""Takes a tool's name and arguments; the call is under way while the context lasts."""


class ToolLog:
    """The calls of all agents of one run."""

    def __init__(self) -> None:
        self._under_way: dict[str, list[WatchedCall]] = {}
        self._ended: Counter[str] = Counter()

    def begin(self, agent_id: str, call: WatchedCall) -> None:
        self._under_way.setdefault(agent_id, []).append(call)

    def end(self, agent_id: str, call: WatchedCall) -> Happened | None:
        """Return the event that a call was, None where its agent has had too many to list."""
        self._under_way[agent_id].remove(call)
        self._ended[agent_id] += 1
        if self._ended[agent_id] > MAX_LISTED:
            return None
        result = call.result
        data: dict[str, JsonValue] = {
            "tool": call.tool,
            "arguments": call.preview,
            "duration_seconds": round(time.monotonic() - call.began, 3),
            "exit_code": result.exit_code if result else None,
            "is_error": result.is_error if result else False,
            "is_called_off": result is None,
        }
        return Happened(EventType.TOOL_CALL, agent_id, data)

    def not_listed(self) -> list[Happened]:
        """Return an event for each agent with more calls than are listed."""
        return [
            Happened(EventType.TOOL_CALL, agent_id, {"not_listed": count - MAX_LISTED})
            for agent_id, count in self._ended.items()
            if count > MAX_LISTED
        ]

    def in_use(self) -> dict[str, ToolInUse]:
        """Return the tool that each agent is using, the latest where there are several."""
        return {
            agent_id: ToolInUse(name=calls[-1].tool, since=calls[-1].since)
            for agent_id, calls in self._under_way.items()
            if calls
        }


def ending(call: WatchedCall) -> str:
    """Return what an agent's output says at the end of a call."""
    seconds = time.monotonic() - call.began
    result = call.result
    if result is None:
        return f"[called off after {seconds:.1f} s]"
    last = result.text.rpartition("\n")[2]
    if result.exit_code is not None and last.startswith("[exit code"):
        return one_line(last, 300)
    if result.is_error:
        return f"[error, {seconds:.1f} s: {one_line(result.text, 500)}]"
    shown = "" if call.was_heard or not result.text else f"{result.text[:_SHOWN_CHARS]}\n"
    return f"{shown}[done, {seconds:.1f} s]"


def _preview(arguments: Mapping[str, JsonValue]) -> str:
    cut = {
        key: value[:_PREVIEW_CHARS] if isinstance(value, str) else value
        for key, value in arguments.items()
    }
    return one_line(json.dumps(cut, ensure_ascii=False), _PREVIEW_CHARS)
