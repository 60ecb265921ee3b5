"""When the next call on a key may start: the arithmetic of rate limits. Runs on: host.

Times are the machine's monotonic clock, which all its processes share.
"""

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

_PARTS = 60
_FIRST_PACE = 0.1
_MAX_PACE = 5.0
_PACE_DECAY = 0.9


class RateLimits(NamedTuple):
    """What a key allows; None: no limit is known."""

    concurrency: int | None = None
    requests: int | None = None
    """Calls that start within a window."""
    tokens: int | None = None
    """Tokens of the calls that start within a window."""
    window_seconds: float = 60.0

    @property
    def counts_starts(self) -> bool:
        return self.requests is not None or self.tokens is not None


class Started(BaseModel):
    """The calls that start within one sixtieth of a window."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    part: int
    requests: int
    tokens: int


class RateState(BaseModel):
    """What is known of a key's calls, by all processes of the user together."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    boot_id: str
    """The clock begins anew with each start of the machine."""
    window_seconds: float = 60.0
    started: tuple[Started, ...] = ()
    last_start: float = 0.0
    """Of the call that was let in last; it may lie ahead."""
    blocked_until: float = 0.0
    """The provider has asked everybody on this key to wait."""
    pace: float = 0.0
    """Seconds between two starts, learned from refusals; it shrinks with every success."""
    paced_at: float = 0.0

    def with_start(self, limits: RateLimits, now: float, tokens: int) -> tuple["RateState", float]:
        """Return when a call of so many tokens may start, and the state that counts it.

        Starts are given out in the order of asking, so none overtakes another.
        """
        current = self._in_window(limits, now)
        start = max(now, current.blocked_until)
        if not (current.pace or limits.counts_starts):
            return current, start
        start = max(start, current.last_start + current.pace)
        start = current._first_fit(limits, start, tokens)
        return current._counted(limits, start, 1, tokens)._changed(last_start=start), start

    def without_start(self, limits: RateLimits, start: float, tokens: int) -> "RateState":
        """Take back a start that was not made use of."""
        return self._counted(limits, start, -1, -tokens)

    def with_tokens(self, limits: RateLimits, start: float, more: int) -> "RateState":
        """Count what a call really took; `more` than was thought, or less."""
        return self._counted(limits, start, 0, more)

    def refused(self, now: float, start: float, wait_seconds: float) -> "RateState":
        """Let everybody wait: the call that began at `start` was one too many.

        Several calls are refused for one cause; only one that began after the pace was last
        lowered lowers it again.
        """
        blocked = max(self.blocked_until, now + wait_seconds)
        if start < self.paced_at:
            return self._changed(blocked_until=blocked)
        pace = min(max(2 * self.pace, _FIRST_PACE), _MAX_PACE)
        return self._changed(blocked_until=blocked, pace=pace, paced_at=now)

    def accepted(self) -> "RateState":
        """Raise the pace a little: a call was let in."""
        pace = self.pace * _PACE_DECAY
        return self._changed(pace=pace if pace > _FIRST_PACE / 100 else 0.0)

    def _changed(self, **changes: object) -> "RateState":
        return self.model_copy(update=changes)

    def _in_window(self, limits: RateLimits, now: float) -> "RateState":
        """Forget what is out of the window, or was counted by parts of another length."""
        if self.window_seconds != limits.window_seconds:
            return self._changed(window_seconds=limits.window_seconds, started=())
        oldest = _part(limits, now) - _PARTS
        return self._changed(started=tuple(s for s in self.started if s.part >= oldest))

    def _first_fit(self, limits: RateLimits, start: float, tokens: int) -> float:
        """Return the first time from `start` on at which the window has room.

        A whole part more than the window is looked at: calls need not arrive as they started.
        A call larger than the limit itself has an empty window to itself.
        """
        while True:
            oldest = _part(limits, start) - _PARTS
            inside = [s for s in self.started if s.part >= oldest and s.requests]
            if not inside or _has_room(limits, inside, tokens):
                return start
            start = (min(s.part for s in inside) + _PARTS + 1) * limits.window_seconds / _PARTS

    def _counted(self, limits: RateLimits, start: float, requests: int, tokens: int) -> "RateState":
        if not limits.counts_starts:
            return self
        part = _part(limits, start)
        counts = {s.part: s for s in self.started}
        old = counts.get(part, Started(part=part, requests=0, tokens=0))
        counts[part] = Started(
            part=part,
            requests=max(0, old.requests + requests),
            tokens=max(0, old.tokens + tokens),
        )
        return self._changed(started=tuple(counts.values()))


def _part(limits: RateLimits, time: float) -> int:
    # A little ahead, or rounding would keep the first moment of a part in the one before.
    return int(time * _PARTS / limits.window_seconds + 1e-6)


def _has_room(limits: RateLimits, inside: list[Started], tokens: int) -> bool:
    if limits.requests is not None and sum(s.requests for s in inside) >= limits.requests:
        return False
    return limits.tokens is None or sum(s.tokens for s in inside) + tokens <= limits.tokens
