"""Measure MassGen itself, installed by `bench/install-massgen`. Runs on: host."""

import subprocess
from pathlib import Path

from bench.figures import PeerKey, PeerSamples
from bench.place import Place
from bench.processes import finished

_QUESTION = "What is the answer?"
_WARM_UPS = 2
"""The first run compiles bytecode for a minute, the second one fills its caches."""


class MassGenBench:
    """Measures `massgen` of another virtual environment with the same models and question."""

    def __init__(self, place: Place, massgen: Path, samples: PeerSamples) -> None:
        self._place = place
        self._massgen = massgen
        self._samples = samples
        self._config = place.write_config("peer")
        self._environ = {
            **place.environ(),
            "PATH": f"{massgen.parent}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": "",
            "OPENAI_API_KEY": "unused",  # it refuses to start without one
        }

    def version(self) -> str:
        """Return the installed version."""
        code = "import importlib.metadata as m; print(m.version('massgen'))"
        command = [str(self._massgen.parent / "python"), "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def warm_up(self) -> None:
        """Run as often as it takes until a run is as fast as the next one."""
        for _ in range(_WARM_UPS):
            self._run()

    def measure(self) -> None:
        """Add one value to each figure."""
        for key, value in self._run().items():
            self._samples.setdefault(key, []).append(value)

    def _run(self) -> dict[PeerKey, float]:
        command = [str(self._massgen), "--automation", "--config", str(self._config), _QUESTION]
        done = finished(command, self._place.directory, self._environ)
        done.value("WINNER")
        first = min(request.arrived for request in self._place.requests(done.began))
        return {
            PeerKey.FIRST_REQUEST: first - done.began,
            PeerKey.RUN_WALL: done.wall_seconds,
            PeerKey.RUN_CPU: done.cpu_seconds,
        }
