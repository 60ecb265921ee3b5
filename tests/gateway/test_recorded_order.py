"""The recorded order of starts and ends, whatever order they happen in again."""

import random

from hypothesis import given
from hypothesis import strategies as st

from runner.gateway.cassette import Call, End, RecordedCall, Timing
from runner.gateway.recorded_order import RecordedOrder


def calls_in(order: list[int]) -> list[RecordedCall]:
    """Return calls that start where their number stands first, and end where it stands again."""
    places: dict[int, list[int]] = {}
    for place, number in enumerate(order):
        places.setdefault(number, []).append(place)
    return [
        RecordedCall(
            Call(agent=f"agent_{number}", ordinal=1, dialect="chat", stream=True),
            {},
            (),
            End(kind="complete"),
            Timing(started=start, ended=end, start_order=start, end_order=end),
        )
        for number, (start, end) in sorted(places.items())
    ]


@st.composite
def orders(draw: st.DrawFn) -> list[int]:
    count = draw(st.integers(1, 6))
    return draw(st.permutations([number for number in range(count) for _ in range(2)]))


@given(orders(), st.randoms(use_true_random=False))
def test_ends_come_in_the_recorded_order(order: list[int], dice: random.Random) -> None:
    """However starts are mixed up, the calls get their turns as they ended, each exactly once."""
    calls = calls_in(order)
    kept = RecordedOrder(calls)
    expected = sorted(range(len(calls)), key=lambda number: calls[number].timing.end_order)
    to_start = list(range(len(calls)))
    dice.shuffle(to_start)
    waiting: set[int] = set()
    ended: list[int] = []
    while to_start or waiting:
        turns = [number for number in waiting if kept.has_turn(number)]
        assert len(turns) <= 1
        if turns and (not to_start or dice.random() < 0.5):
            kept.end(turns[0])
            waiting.remove(turns[0])
            ended.append(turns[0])
        else:
            number = to_start.pop()
            kept.start(number)
            waiting.add(number)
    assert ended == expected
    assert kept.awaited is None


@given(orders(), st.sets(st.integers(0, 5)))
def test_giving_up_always_gets_somewhere(order: list[int], missing: set[int]) -> None:
    """With calls that never come the others all get their turns, in the recorded order."""
    calls = calls_in(order)
    kept = RecordedOrder(calls)
    waiting = set(range(len(calls))) - missing
    expected = sorted(waiting, key=lambda number: calls[number].timing.end_order)
    for number in waiting:
        kept.start(number)
    ended: list[int] = []
    while waiting:
        turns = [number for number in waiting if kept.has_turn(number)]
        if not turns:
            assert kept.skip_to_first(waiting) is not None
            continue
        kept.end(turns[0])
        waiting.remove(turns[0])
        ended.append(turns[0])
    assert ended == expected
