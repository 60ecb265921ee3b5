"""`python -m bench.gateway`: measure, print a table, write JSON. Runs on: host."""

import asyncio
import datetime as dt
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from bench.figures import Spread
from bench.gateway.load import (
    Sizes,
    latencies,
    requests_per_second,
    script,
    tokens_per_second,
    warm_up,
)
from bench.gateway.report import Key, Report, Samples, print_report, rows
from bench.gateway.subjects import (
    Address,
    Name,
    Pinning,
    Subject,
    gateway,
    litellm,
    litellm_version,
    pinning,
    resident_mebibytes,
    started,
)
from bench.place import ROOT, Place, place

_FULL = Sizes(200, 400, 8, 4, 2_000)
_QUICK = Sizes(10, 16, 2, 2, 50)
_WARM_UP_CALLS = 20
_EXISTING = click.Path(exists=True, path_type=Path)  # not resolved: it is a link in its venv


@click.command(epilog="Example: python -m bench.gateway --litellm ~/litellm-venv/bin/litellm")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1), help="Rounds.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Where to write JSON.")
@click.option("--litellm", "peer", type=_EXISTING, help="LiteLLM's command, measured too.")
@click.option("--quick", is_flag=True, help="Small sizes: shows that it works, proves nothing.")
def main(runs: int, json_file: Path | None, peer: Path | None, quick: bool) -> None:
    """Measure the gateway alone, without and with a budget in USD, in front of a local provider.

    Needs neither a container engine nor a network.
    """
    console = Console(stderr=True)
    load = os.getloadavg()[0]
    pinned = pinning()
    if pinned:
        os.sched_setaffinity(0, pinned.others)  # the provider inherits it
    sizes = _QUICK if quick else _FULL
    with place(script(sizes.stream_words)) as here:
        bench = GatewayBench(here, sizes, pinned, peer.absolute() if peer else None)
        asyncio.run(bench.run(runs, console))
    report = Report(
        made_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        rounds=runs,
        quick=quick,
        cpus=os.cpu_count() or 1,
        load_before=load,
        kernel=platform.release(),
        python=platform.python_version(),
        pinned=pinned is not None,
        litellm_version=litellm_version(peer) if peer else None,
        direct_p50_ms=Spread.of(bench.direct_p50_ms),
        rows=rows(bench.samples, bench.direct),
    )
    print_report(report, Console(width=None if Console().is_terminal else 180))
    name = f"gateway-{report.made_at.replace(':', '')}.json"
    target = json_file or ROOT / "bench" / "results" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(report.model_dump_json(indent=2) + "\n")
    console.print(f"Written: {target}")


class GatewayBench:
    """Measures every subject once a round, each in a process that is started for it."""

    def __init__(
        self, here: Place, sizes: Sizes, pinned: Pinning | None, peer: Path | None
    ) -> None:
        self._place = here
        self._sizes = sizes
        self._pinned = pinned
        self._provider = Address(f"{here.provider_url}/chat/completions")
        self._subjects = [gateway(here, Name.GATEWAY), gateway(here, Name.BUDGET)]
        if peer:
            self._subjects.append(litellm(here, peer))
        self.samples: dict[Name, Samples] = {
            subject.name: {key: [] for key in Key} for subject in self._subjects
        }
        self.direct: Samples = {Key.REQUESTS: [], Key.TOKENS: []}
        self.direct_p50_ms: list[float] = []

    async def run(self, rounds: int, console: Console) -> None:
        """Measure; a first start of each, which may compile bytecode, is not counted."""
        for subject in self._subjects:
            async with started(subject, self._place.directory, self._pinned):
                await warm_up(subject.calls, 1)
        for number in range(rounds):
            console.print(f"round {number + 1} of {rounds}")
            await self._load(self._provider, self.direct)
            for subject in self._subjects:
                await self._measure(subject)

    async def _measure(self, subject: Subject) -> None:
        samples = self.samples[subject.name]
        async with started(subject, self._place.directory, self._pinned) as process:
            samples[Key.START_UP].append(process.seconds)
            await warm_up(subject.calls, _WARM_UP_CALLS)
            await self._latency(subject.calls, samples)
            await self._load(subject.calls, samples)
            samples[Key.MEMORY].append(resident_mebibytes(process.pid))

    async def _latency(self, address: Address, samples: Samples) -> None:
        times = await latencies(self._provider, address, self._sizes.calls_in_turn)
        direct = statistics.median(times.direct)
        added = [1000 * (seconds - direct) for seconds in times.through]
        self.direct_p50_ms.append(1000 * direct)
        samples[Key.ADDED_P50].append(_percentile(added, 50))
        samples[Key.ADDED_P99].append(_percentile(added, 99))

    async def _load(self, address: Address, samples: Samples) -> None:
        sizes = self._sizes
        samples[Key.REQUESTS].append(
            await requests_per_second(address, sizes.calls_at_once, sizes.workers)
        )
        samples[Key.TOKENS].append(
            await tokens_per_second(address, sizes.streams, sizes.stream_words)
        )


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


if __name__ == "__main__":
    main()
