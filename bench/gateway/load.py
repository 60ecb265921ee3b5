"""Model calls, counted and timed. Runs on: host."""

import asyncio
import json
import re
import time
from typing import Any, NamedTuple

import aiohttp

from bench.gateway import MODEL
from bench.gateway.subjects import Address
from bench.processes import MeasurementError

_WORD = re.compile(rb'"w\d{3}"')
"""A token in its event; they differ, as LiteLLM ends a stream that repeats one a hundred times."""
_LONG = "Speak at length."
_SHORT_WORDS = 8
_IN_TURN = 10


class Sizes(NamedTuple):
    """How much is measured in a round, of each subject."""

    calls_in_turn: int
    calls_at_once: int
    workers: int
    streams: int
    stream_words: int


class Latencies(NamedTuple):
    """Seconds from sending to the last byte, of calls made in turns."""

    direct: list[float]
    through: list[float]


def script(stream_words: int) -> dict[str, Any]:
    """Return the provider's script: eight tokens without delay, or many if asked for."""
    return {
        "rules": [
            {"contains": _LONG, "replies": [reply(stream_words)]},
            {"replies": [reply()]},
        ]
    }


def reply(words: int = _SHORT_WORDS) -> dict[str, Any]:
    """Return a reply of so many tokens, each in an event of its own."""
    return {
        "kind": "text",
        "text": "".join(f"w{number % 1000:03}" for number in range(words)),
        "tokens_per_chunk": 1,
    }


async def warm_up(address: Address, calls: int) -> None:
    """Let imports and connections happen that only the first calls need."""
    async with address.session() as session:
        for _ in range(calls):
            await make_call(session, address.url, "Speak.", _SHORT_WORDS)


async def latencies(direct: Address, through: Address, calls: int) -> Latencies:
    """Time short calls one after the other, ten of the one and ten of the other by turns."""
    found = Latencies([], [])
    async with direct.session() as first, through.session() as second:
        while len(found.through) < calls:
            for session, url, times in (
                (first, direct.url, found.direct),
                (second, through.url, found.through),
            ):
                for _ in range(_IN_TURN):
                    began = time.perf_counter()
                    await make_call(session, url, "Speak.", _SHORT_WORDS)
                    times.append(time.perf_counter() - began)
    return found


async def requests_per_second(address: Address, calls: int, workers: int) -> float:
    """Return how many short calls a second are answered when `workers` call without a pause."""
    left = iter(range(calls))
    async with address.session() as session:

        async def work() -> None:
            for _ in left:
                await make_call(session, address.url, "Speak.", _SHORT_WORDS)

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(workers)))
        return calls / (time.perf_counter() - began)


async def tokens_per_second(address: Address, streams: int, words: int) -> float:
    """Return how many tokens a second arrive, each an event of its own, over all streams."""
    async with address.session() as session:
        began = time.perf_counter()
        await asyncio.gather(
            *(make_call(session, address.url, _LONG, words) for _ in range(streams))
        )
        return streams * words / (time.perf_counter() - began)


async def make_call(session: aiohttp.ClientSession, url: str, says: str, words: int) -> None:
    """Make a call. Raises MeasurementError unless every token arrives, one in an event."""
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": says}]}
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    async with session.post(url, data=data, headers=headers) as response:
        answer = await response.read()
    arrived = len(_WORD.findall(answer))
    if response.status != 200 or arrived != words:
        raise MeasurementError(
            f"{url}: status {response.status}, {arrived} of {words} tokens: {answer[:500]!r}"
        )
