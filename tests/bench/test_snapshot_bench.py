"""`python -m bench.snapshot`: that it works and what it writes, never how fast."""

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.place import ROOT


def test_a_small_round_measures_both(tmp_path: Path) -> None:
    """Both copies are timed in each round, and their ratio is written."""
    written = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench.snapshot", "--runs", "2", "--files", "50"]
    command += ["--megabytes", "1", "--json", str(written)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(written.read_text())
    assert {name: len(values) for name, values in figures.items()} == {
        "runner_seconds": 2,
        "cp_seconds": 2,
        "ratio": 2,
    }
    assert "ratio" in done.stdout
