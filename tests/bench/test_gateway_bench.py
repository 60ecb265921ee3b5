"""`python -m bench.gateway`: that it works and what it writes, never how fast."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.gateway.report import FIGURES, Key, Report, Samples, rows, verdict
from bench.gateway.subjects import Name
from bench.place import ROOT


@pytest.mark.slow
def test_a_quick_round_measures_every_figure(tmp_path: Path) -> None:
    """One round without LiteLLM prints a table that says so and writes every figure as JSON."""
    written = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench.gateway", "--runs", "1", "--quick"]
    command += ["--json", str(written)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr
    report = Report.model_validate_json(written.read_bytes())
    assert list(Key) == [row.key for row in report.rows]
    for row in report.rows:
        assert {Name.GATEWAY, Name.BUDGET} == set(row.spreads)
        assert row.aim is None
    assert report.litellm_version is None
    assert "LiteLLM: not" in done.stdout


def measured(value: float) -> Samples:
    return {key: [value] for key in FIGURES}


def test_aims_are_fractions_of_what_litellm_took() -> None:
    """The worse of the two gateways is held against LiteLLM's median in the same run."""
    samples = {
        Name.GATEWAY: measured(1.0),
        Name.BUDGET: measured(3.0),
        Name.LITELLM: measured(10.0),
    }
    found = {row.key: row for row in rows(samples, {})}
    assert verdict(found[Key.ADDED_P50]) == "missed by 1.000 ms"
    assert verdict(found[Key.START_UP]) == "missed by 2.000 s"
    assert verdict(found[Key.MEMORY]) == "missed by 0.500 MiB"
    assert verdict(found[Key.REQUESTS]) == ""
    assert found[Key.ADDED_P50].ratio == pytest.approx(10.0)
    samples[Name.BUDGET] = measured(1.0)
    assert {"", "met"} == {verdict(row) for row in rows(samples, {})}
