"""`bench/run` on the real engine: that it works and what it writes, never how fast."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.figures import Key, PeerKey, Report, Row, Spread, peer_rows, rows
from bench.place import ROOT
from bench.table import verdict


@pytest.mark.docker
@pytest.mark.slow
def test_a_quick_round_measures_every_figure(tmp_path: Path, run_image: None) -> None:
    """One round of small sizes prints a table and writes every figure as JSON."""
    written = tmp_path / "figures.json"
    command = [str(ROOT / "bench" / "run"), "--runs", "1", "--quick", "--json", str(written)]
    environ = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    report = Report.model_validate_json(written.read_bytes())
    assert list(Key) == sorted((row.key for row in report.rows), key=list(Key).index)
    assert all(len(row.spread.values) == 1 for row in report.rows)
    assert list(PeerKey) == [row.key for row in report.peer]
    assert "MassGen: not installed here" in done.stdout
    assert "whole run, two agents" in done.stdout


def row(median: float, aim: float | None, *, at_least: bool = False) -> Row:
    return Row(
        key=Key.HELP,
        title="a figure",
        unit="s",
        spread=Spread.of([median]),
        aim=aim,
        at_least=at_least,
    )


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (row(0.4, 0.5), "met"),
        (row(0.5, 0.5), "met"),
        (row(0.75, 0.5), "missed by 0.250 s"),
        (row(6000, 5000, at_least=True), "met"),
        (row(4000, 5000, at_least=True), "missed by 1,000 s"),
        (row(4000, None), ""),
    ],
)
def test_a_verdict_says_by_how_much_an_aim_is_missed(measured: Row, expected: str) -> None:
    """The median is held against the aim, a lower bound the other way round."""
    assert expected == verdict(measured)


def test_aims_follow_what_the_same_round_measured() -> None:
    """Aims that are multiples of another figure, ours or MassGen's, use the measured medians."""
    samples = {
        Key.IDLE_CONTAINER: [0.2, 0.3, 0.9],
        Key.RUN_WALL: [1.6, 1.9, 1.7],
        Key.FIRST_REQUEST: [1.1],
    }
    found = {row.key: row for row in rows(samples, {PeerKey.FIRST_REQUEST: [4.0]}, {})}
    assert found[Key.RUN_WALL].aim == pytest.approx(2 * 0.3 + 1.2)
    assert found[Key.RUN_WALL].missed_by == 0
    assert found[Key.FIRST_REQUEST].missed_by == pytest.approx(0.1)


def test_published_values_stand_in_for_a_massgen_that_is_not_installed() -> None:
    """Without a measurement, ratios come from the published figures and are marked so."""
    (first, *_) = peer_rows({Key.FIRST_REQUEST: [1.0]}, {})
    assert first.spread is None
    assert first.ratio == pytest.approx(5.0)
