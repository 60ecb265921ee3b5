"""The order in which recorded calls began and ended, kept while they are replayed. Runs on: host.

Agents run side by side, and what they decide depends on whose answer ends first. So the end of an
answer is given only when everything that came before it in the recording has happened again.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from runner.gateway.cassette import RecordedCall


class Moment(NamedTuple):
    """A call's start or end; `gap_seconds` after the moment before it."""

    call: int
    """Position in the cassette."""
    what: Literal["start", "end"]
    gap_seconds: float


class RecordedOrder:
    """The moments of a recording, ticked off as they happen again. Pure: no clock, no waiting."""

    def __init__(self, calls: Sequence[RecordedCall]) -> None:
        moments = []
        for number, (_, _, _, _, timing) in enumerate(calls):
            moments.append((timing.start_order, timing.started, number, "start"))
            moments.append((timing.end_order, timing.ended, number, "end"))
        self._moments: list[Moment] = []
        before = 0.0
        for _, when, number, what in sorted(moments):
            gap = max(0.0, when - before)
            self._moments.append(Moment(number, "start" if what == "start" else "end", gap))
            before = max(before, when)
        self._happened: set[tuple[int, str]] = set()
        self._at = 0

    @property
    def awaited(self) -> Moment | None:
        """The first moment that has not happened; None when all have."""
        return self._moments[self._at] if self._at < len(self._moments) else None

    def has_turn(self, call: int) -> bool:
        """Tell whether all that came before the end of `call` has happened, or was given up."""
        awaited = self.awaited
        end = (call, "end")
        return awaited is None or end in self._happened or (awaited.call, awaited.what) == end

    def start(self, call: int) -> None:
        """Note that the call has been asked for again."""
        self._note((call, "start"))

    def end(self, call: int) -> None:
        """Note that the call is over, or will never come."""
        self._note((call, "start"), (call, "end"))

    def skip_to_first(self, waiting: Iterable[int]) -> Moment | None:
        """Give up what does not happen: the first of the `waiting` calls gets its turn.

        Returns the first moment given up.
        """
        ends = {(number, "end") for number in waiting}
        missed = self.awaited
        if missed is None or (missed.call, missed.what) in ends:
            return None
        while (moment := self.awaited) is not None and (moment.call, moment.what) not in ends:
            self._note((moment.call, moment.what))
        return missed

    def _note(self, *moments: tuple[int, str]) -> None:
        self._happened.update(moments)
        while (awaited := self.awaited) and (awaited.call, awaited.what) in self._happened:
            self._at += 1
