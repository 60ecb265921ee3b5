"""`python -m bench.forwarder`: that it works and what it says, never how fast."""

import os
import re
import subprocess
import sys

from bench.place import ROOT


def test_a_quick_round_measures_both_ways_and_the_processor() -> None:
    """It says what is added with and without the forwarder, and what the forwarder takes."""
    command = [sys.executable, "-m", "bench.forwarder", "--quick"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "DOCKER_HOST": "unix:///nowhere"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr
    for what in ("agent socket", "forwarder and agent socket", "forwarder alone"):
        assert re.search(rf"^{what}: -?[\d.]+ ms added \(p50\)", done.stdout, re.MULTILINE)
    assert re.search(r"processor time: [\d.]+ % of a core at 1000 tokens/s", done.stdout)
