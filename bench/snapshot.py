"""`python -m bench.snapshot`: the copy of a workspace beside `cp -a`. Runs on: host."""

import json
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from bench.place import ROOT
from runner.contract.tree_copy import copy_tree

_DIRECTORIES = 400


@click.command(epilog="Example: python -m bench.snapshot --runs 7")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="Rounds.")
@click.option("--files", default=10_000, show_default=True, type=click.IntRange(1), help="Files.")
@click.option("--megabytes", default=200, show_default=True, type=click.IntRange(1), help="In all.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Where to write JSON.")
def main(runs: int, files: int, megabytes: int, json_file: Path | None) -> None:
    """Copy one tree with the runner's copy and with `cp -a`, in turn, on the checkout's disk."""
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".bench-") as directory:
        place = Path(directory)
        source = _tree(place / "source", files, megabytes * 1_000_000 // files)
        for _ in range(runs):
            theirs.append(_timed(place / "cp", lambda to: _cp(source, to)))
            ours.append(_timed(place / "ours", lambda to: copy_tree(source, to)))
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    figures = {"runner_seconds": ours, "cp_seconds": theirs, "ratio": ratios}
    for name, values in figures.items():
        spread = f"{min(values):.3f} to {max(values):.3f}"
        click.echo(f"{name:15} median {statistics.median(values):.3f}, {spread}")
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


def _tree(source: Path, files: int, size: int) -> Path:
    """Make a tree whose bytes are always the same."""
    chance = random.Random(1)  # noqa: S311 not for secrets
    for number in range(files):
        directory = source / f"{number % 20}" / f"{number % _DIRECTORIES}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"file-{number}").write_bytes(chance.randbytes(size))
    return source


def _cp(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def _timed(target: Path, copy: Callable[[Path], object]) -> float:
    began = time.perf_counter()
    copy(target)
    seconds = time.perf_counter() - began
    shutil.rmtree(target)
    return seconds


if __name__ == "__main__":
    main()
