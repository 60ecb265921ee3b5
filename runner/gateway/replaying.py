"""Answer model calls from a cassette: no provider, no key, the same run again. Runs on: host."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple, Self

from runner.config.values import is_active
from runner.contract.status import AgentErrorType
from runner.contract.text import one_line
from runner.gateway.cassette import Cassette, Header, JsonObject, RecordedCall
from runner.gateway.cassette_secrets import redacted
from runner.gateway.recorded_order import RecordedOrder
from runner.gateway.recording import SETTLE_SECONDS
from runner.gateway.redaction import Redactor
from runner.gateway.refusal import Refusal
from runner.gateway.request_match import Match, best_match, exact_match
from runner.gateway.routes import Route
from runner.gateway.upstream import BrokenStreamError, CallProgress

PATIENCE_SECONDS = 15.0
"""How much longer than in the recording something may take before it counts as never coming."""
_RACE_SECONDS = 0.3
"""For a request that was not recorded, but may be cancelled in the next instant."""
_MAX_DIFFERENCES = 20
_REPLY_LIMITS = frozenset({"max_tokens", "max_completion_tokens", "maxOutputTokens"})
_DECIDING = (b"[DONE]", b"message_stop", b'"error"')
"""What a container acts upon before a stream has ended."""


class ReplaySettings(NamedTuple):
    """How a cassette is played."""

    speed: float = 0.0
    """1: as fast as it was recorded; 0: without waiting."""
    strict: bool = False
    """A request that differs is refused, and so is every one after it."""
    patience_seconds: float = PATIENCE_SECONDS


class Replaying:
    """An upstream that gives recorded answers, their ends in the recorded order."""

    def __init__(
        self,
        cassette: Cassette,
        settings: ReplaySettings,
        report: Callable[[str], None],
    ) -> None:
        self._ignored = _set_by_budgets(cassette.header)
        self._calls = [
            call._replace(request=self._compared(call.request)) for call in cassette.calls
        ]
        self._settings = settings
        self._report = report
        self._order = RecordedOrder(cassette.calls)
        self._redact = Redactor(())
        self._left = _by_agent(cassette.calls)
        self._asked: Counter[str] = Counter()
        self._waiting: set[int] = set()
        self._changed = asyncio.Event()
        self._last_end = 0.0
        self._differences = 0
        self.first_difference: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    def never_asked(self) -> list[RecordedCall]:
        """Return the recorded calls that were answered, and were not asked for again."""
        numbers = sorted(number for left in self._left.values() for number in left)
        return [self._calls[n] for n in numbers if self._calls[n].end.kind != "cancelled"]

    @asynccontextmanager
    async def call(
        self,
        route: Route,
        body: bytes,
        *,
        stream: bool,
        progress: CallProgress,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield what was recorded for this request; raises what was raised then."""
        number = await self._recorded(route, body, stream=stream)
        recorded = self._calls[number]
        progress.cached_response = True
        progress.status = recorded.end.status
        progress.attempts = recorded.end.attempts
        progress.request_id = recorded.end.request_id
        try:
            if recorded.end.kind == "refused":
                await self._turn(number)
                raise _refusal(recorded)
            async with aclosing(self._chunks(number)) as chunks:
                yield chunks
        finally:
            self._ended(number)

    async def _recorded(self, route: Route, body: bytes, *, stream: bool) -> int:
        """Return the position of the call that is given for a request; raises Refusal."""
        if self._settings.strict and self.first_difference is not None:
            raise _no_answer(self.first_difference)
        agent_id = route.agent_id
        request = self._compared(redacted(json.loads(body), self._redact))
        match = exact_match(self._calls, self._candidates(route, stream=stream), request)
        if match is None:
            await asyncio.sleep(_RACE_SECONDS)
            match = exact_match(self._calls, self._candidates(route, stream=stream), request)
        self._asked[agent_id] += 1
        ordinal = self._asked[agent_id]
        if match is None:
            candidates = self._candidates(route, stream=stream)
            match = self._other(agent_id, candidates, request, ordinal)
        self._take(self._left[agent_id], match.number)
        return match.number

    def _compared(self, request: JsonObject) -> JsonObject:
        compared = {key: value for key, value in request.items() if key not in self._ignored}
        settings = compared.get("generationConfig")  # Gemini's own API
        if isinstance(settings, dict):
            kept = {key: value for key, value in settings.items() if key not in self._ignored}
            compared["generationConfig"] = kept
        return compared

    def _candidates(self, route: Route, *, stream: bool) -> list[int]:
        """Return what is left of the agent's calls, in the form that is asked for."""
        return [
            number
            for number in self._left.get(route.agent_id, ())
            if self._calls[number].call.dialect == route.dialect
            and self._calls[number].call.stream == stream
        ]

    def _other(self, agent_id: str, left: list[int], request: Any, ordinal: int) -> Match:
        """Return the best match of a request that was not recorded; raises Refusal."""
        match = best_match(self._calls, left, request, ordinal)
        asked = f"request {ordinal} of {agent_id}"
        if match is None:
            self._differ(f"{asked}: the recording has no more calls of this agent")
            raise _no_answer(f"{asked} was not recorded, and nothing is left to give for it")
        self._differ(f"{asked} is not {self._calls[match.number].name}: {match.difference}")
        if self._settings.strict:
            raise _no_answer(f"{asked} differs from the recording: {self.first_difference}")
        return match

    def _differ(self, what: str) -> None:
        self._differences += 1
        what = one_line(what, 400)
        self.first_difference = self.first_difference or what
        if self._differences <= _MAX_DIFFERENCES:
            self._report(f"Replay: {what}")
        if self._differences == _MAX_DIFFERENCES:
            self._report("Replay: further differences are not shown")

    def _take(self, left: list[int], number: int) -> None:
        """Give a call away; those that its agent made before will not come any more."""
        position = left.index(number)
        for skipped in left[:position]:
            self._order.end(skipped)
        left.remove(number)
        self._order.start(number)
        self._notify()

    async def _chunks(self, number: int) -> AsyncGenerator[bytes, None]:
        recorded = self._calls[number]
        began = time.monotonic()
        held = _first_held(recorded)
        for when, chunk in zip(recorded.timing.chunks[:held], recorded.chunks, strict=False):
            await self._pace(began, when)
            yield chunk
        await self._pace(began, recorded.timing.ended - recorded.timing.started)
        await self._turn(number)
        for chunk in recorded.chunks[held:]:
            yield chunk
        if recorded.end.kind == "cancelled":
            await self._hang_up(recorded)
        if recorded.end.kind == "broken":
            raise BrokenStreamError(recorded.end.message or "as it was recorded")

    async def _pace(self, began: float, recorded_seconds: float) -> None:
        if self._settings.speed > 0:
            due = began + recorded_seconds / self._settings.speed
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _hang_up(self, recorded: RecordedCall) -> None:
        """Wait for the container to end the call, as it did in the recording."""
        duration = recorded.timing.ended - recorded.timing.started
        await asyncio.sleep(self._stretched(duration) + self._settings.patience_seconds)
        self._differ(f"{recorded.name} was ended by the container; now it waits for the answer")
        raise BrokenStreamError("the recording of this answer ends here")

    async def _turn(self, number: int) -> None:
        """Wait until the end of this call may be given."""
        self._waiting.add(number)
        try:
            while not self._order.has_turn(number):
                await self._change_or_skip()
        finally:
            self._waiting.discard(number)
        settled = self._last_end + SETTLE_SECONDS
        await asyncio.sleep(max(0.0, settled - time.monotonic()))

    async def _change_or_skip(self) -> None:
        awaited = self._order.awaited
        gap = self._stretched(awaited.gap_seconds) if awaited else 0.0
        try:
            async with asyncio.timeout(gap + self._settings.patience_seconds):
                await self._changed.wait()
        except TimeoutError:
            missed = self._order.skip_to_first(self._waiting)
            if missed is not None:
                name = self._calls[missed.call].name
                self._differ(f"the {missed.what} of {name} did not come: going on without it")
            self._notify()

    def _stretched(self, recorded_seconds: float) -> float:
        """Return how long something recorded takes at this speed, unless it is the container's."""
        speed = self._settings.speed
        return recorded_seconds / speed if 0 < speed < 1 else recorded_seconds

    def _ended(self, number: int) -> None:
        self._order.end(number)
        self._last_end = time.monotonic()
        self._notify()

    def _notify(self) -> None:
        """Wake up all who wait for their turn."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _set_by_budgets(header: Header) -> frozenset[str]:
    """Return the keys that the gateway set in the recording, as far as its budget allowed."""
    settings = header.config.get("runner")
    budget = settings.get("budget") if isinstance(settings, dict) else None
    return _REPLY_LIMITS if is_active(budget) else frozenset()


def _by_agent(calls: Iterable[RecordedCall]) -> dict[str, list[int]]:
    """Return the positions of each agent's calls, in the order in which they began."""
    numbered = sorted(enumerate(calls), key=lambda item: item[1].call.ordinal)
    left: dict[str, list[int]] = {}
    for number, recorded in numbered:
        left.setdefault(recorded.call.agent, []).append(number)
    return left


def _first_held(recorded: RecordedCall) -> int:
    """Return the first chunk that is held back until the call may end."""
    for index, chunk in enumerate(recorded.chunks):
        if any(word in chunk for word in _DECIDING):
            return index
    return max(0, len(recorded.chunks) - 1)


def _refusal(recorded: RecordedCall) -> Refusal:
    end = recorded.end
    return Refusal(
        end.gateway_status or 502,
        one_line(end.message or "refused, as it was recorded", 2000),
        type=end.error_type or AgentErrorType.PROVIDER,
        provider_status=end.status,
    )


def _no_answer(message: str) -> Refusal:
    return Refusal(502, one_line(f"the replay has no answer: {message}", 1000))
