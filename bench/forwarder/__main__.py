"""`python -m bench.forwarder`: measure, print as text. Runs on: host."""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import click

from bench.cpu import process_seconds
from bench.gateway.load import Latencies, latencies, make_call, reply, warm_up
from bench.gateway.subjects import (
    Address,
    Name,
    Pinning,
    Subject,
    free_port,
    gateway,
    pinning,
    started,
)
from bench.place import Place, place
from runner.contract.agent_socket import AGENT_SOCKET_NAME, CHAT_PATH

_SLOW = "Speak slowly."
_STREAMS = 8
"""As many as an agent may have under way."""
_TOKENS_PER_SECOND = 1000
_DELAY_SECONDS = _STREAMS / _TOKENS_PER_SECOND
_WARM_UP_CALLS = 20


class Sizes(NamedTuple):
    calls: int
    words: int
    """Of each stream."""


_FULL = Sizes(500, 1250)
_QUICK = Sizes(10, 25)


class Addresses(NamedTuple):
    provider: Address
    agent_socket: Address
    forwarder: Address
    pid: int
    """Of the forwarder's process."""


@click.command()
@click.option("--quick", is_flag=True, help="Small sizes: shows that it works, proves nothing.")
def main(quick: bool) -> None:
    """Measure what the forwarder and the agent's socket add to a model call.

    Needs neither a container engine nor a network.
    """
    sizes = _QUICK if quick else _FULL
    load = os.getloadavg()[0]
    pinned = pinning()
    if pinned:
        os.sched_setaffinity(0, pinned.others)  # all but the forwarder inherit it
    with place(_script(sizes.words)) as here:
        lines = asyncio.run(_measured(here, sizes, pinned))
    where = "the forwarder on a core of its own" if pinned else "not pinned"
    click.echo(f"{os.cpu_count()} CPUs, load {load:.1f} before, {where}")
    for line in lines:
        click.echo(line)


def _script(words: int) -> dict[str, object]:
    slow = reply(words) | {"delay_seconds_per_chunk": _DELAY_SECONDS}
    return {"rules": [{"contains": _SLOW, "replies": [slow]}, {"replies": [reply()]}]}


async def _measured(here: Place, sizes: Sizes, pinned: Pinning | None) -> list[str]:
    async with _serving(here, pinned) as at:
        for address in (at.agent_socket, at.forwarder):
            await warm_up(address, _WARM_UP_CALLS)
        socket = await latencies(at.provider, at.agent_socket, sizes.calls)
        forwarder = await latencies(at.provider, at.forwarder, sizes.calls)
        alone = await latencies(at.agent_socket, at.forwarder, sizes.calls)
        return [
            f"a direct call takes {1000 * statistics.median(socket.direct):.2f} ms (p50)",
            _added("agent socket", socket),
            _added("forwarder and agent socket", forwarder),
            _added("forwarder alone", alone),
            await _cpu(at, sizes.words),
        ]


@asynccontextmanager
async def _serving(here: Place, pinned: Pinning | None) -> AsyncIterator[Addresses]:
    """Have a gateway and a forwarder before it, each in a process of its own."""
    host = gateway(here, Name.GATEWAY)
    host = host._replace(command=(*host.command, "--agent-socket"))
    socket = here.directory / Name.GATEWAY / AGENT_SOCKET_NAME
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    inside = Subject(
        Name.FORWARDER,
        (sys.executable, "-m", "bench.forwarder.serve", str(socket), str(port)),
        here.plain_environ(),
        Address(f"{root}{CHAT_PATH}"),
        Address(f"{root}/v1/models"),
    )
    async with (
        started(host, here.directory, None),
        started(inside, here.directory, pinned) as process,
    ):
        yield Addresses(
            provider=Address(f"{here.provider_url}/chat/completions"),
            agent_socket=Address(f"http://agent{CHAT_PATH}", socket),
            forwarder=inside.calls,
            pid=process.pid,
        )


def _added(what: str, times: Latencies) -> str:
    direct = statistics.median(times.direct)
    added = [1000 * (seconds - direct) for seconds in times.through]
    p50, p99 = _percentile(added, 50), _percentile(added, 99)
    return f"{what}: {p50:.2f} ms added (p50), {p99:.2f} ms (p99)"


async def _cpu(at: Addresses, words: int) -> str:
    """Return what share of a core the forwarder takes while tokens come one at a time."""
    async with at.forwarder.session() as session:
        began, before = time.monotonic(), process_seconds(at.pid)
        url = at.forwarder.url
        await asyncio.gather(*(make_call(session, url, _SLOW, words) for _ in range(_STREAMS)))
        seconds = time.monotonic() - began
        used = process_seconds(at.pid) - before
    rate = _STREAMS * words / seconds
    share = 100 * used / seconds * _TOKENS_PER_SECOND / rate
    return (
        f"forwarder's processor time: {share:.1f} % of a core at {_TOKENS_PER_SECOND} tokens/s "
        f"(measured at {rate:.0f} tokens/s in {_STREAMS} streams for {seconds:.1f} s)"
    )


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


if __name__ == "__main__":
    main()
