"""`bench/run`: measure, print a table, write JSON. Runs on: host."""

import datetime as dt
import os
import platform
from pathlib import Path

import click
from rich.console import Console

from bench.figures import Machine, PeerSamples, Report, Samples, peer_rows, rows
from bench.massgen_figures import MassGenBench
from bench.place import ROOT, place, run_script
from bench.runner_figures import RunnerBench, Sizes
from bench.table import print_report
from runner.host.engine import Engine, connect
from runner.host.images import ensure_image

_FULL = Sizes(stream_tokens=20_000, status_seconds=10.0)
_QUICK = Sizes(stream_tokens=500, status_seconds=1.0)

_EXISTING = click.Path(exists=True, path_type=Path, resolve_path=True)


@click.command(epilog="Example: bench/run --runs 7 --massgen ~/massgen-venv/bin/massgen")
@click.option("--runs", default=7, show_default=True, type=click.IntRange(1), help="Rounds.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Where to write JSON.")
@click.option("--massgen", type=_EXISTING, help="MassGen's command, to be measured too.")
@click.option("--baseline", type=_EXISTING, help="Another checkout, measured in alternation.")
@click.option("--quick", is_flag=True, help="Small sizes: shows that it works, proves nothing.")
def main(
    runs: int, json_file: Path | None, massgen: Path | None, baseline: Path | None, quick: bool
) -> None:
    """Measure the runner's start-up, runs, streaming and upkeep, side by side in each round.

    Needs a container engine and no network.
    """
    console = Console(stderr=True)
    load = os.getloadavg()[0]
    with connect(os.environ) as engine:
        report = _measured(engine, console, runs, massgen, baseline, quick=quick, load=load)
    print_report(report, Console(width=None if Console().is_terminal else 140))
    target = json_file or ROOT / "bench" / "results" / f"{report.made_at.replace(':', '')}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(report.model_dump_json(indent=2) + "\n")
    console.print(f"Written: {target}")


def _measured(
    engine: Engine,
    console: Console,
    rounds: int,
    massgen: Path | None,
    baseline: Path | None,
    *,
    quick: bool,
    load: float,
) -> Report:
    ours: Samples = {}
    theirs: Samples = {}
    peer: PeerSamples = {}
    sizes = _QUICK if quick else _FULL
    image = ensure_image(engine, console.print, os.environ)
    with place(run_script(sizes.stream_tokens)) as here:
        benches: list[RunnerBench | MassGenBench] = []
        benches.append(RunnerBench(here, engine, image=image, sizes=sizes, samples=ours))
        if baseline:
            benches.append(
                RunnerBench(
                    here, engine, image=image, sizes=sizes, samples=theirs, checkout=baseline
                )
            )
        installed = MassGenBench(here, massgen, peer) if massgen else None
        if installed:
            benches.append(installed)
        for bench in benches:
            bench.warm_up()
        for number in range(rounds):
            console.print(f"round {number + 1} of {rounds}")
            for bench in benches:
                bench.measure()
        return Report(
            made_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            rounds=rounds,
            quick=quick,
            machine=_machine(engine, image, load),
            rows=rows(ours, peer, theirs),
            peer_version=installed.version() if installed else None,
            peer=peer_rows(ours, peer),
        )


def _machine(engine: Engine, image: str, load: float) -> Machine:
    info = engine.info()
    return Machine(
        cpus=os.cpu_count() or 1,
        load_before=load,
        kernel=platform.release(),
        python=platform.python_version(),
        engine=f"{info.name} {info.version}",
        image=image,
    )


if __name__ == "__main__":
    main()
