"""Processor time of containers and processes, read from the kernel. Runs on: host.

A container's control group counts all that its processes used, in nanoseconds, and vanishes with
them; so it is read every few milliseconds, and the last value read is what the container used.
"""

import os
import threading
import time
from pathlib import Path
from typing import Self

_CGROUPS = Path("/sys/fs/cgroup")
_INTERVAL_SECONDS = 0.004


class CgroupUsage:
    """Processor seconds used so far by one control group; kernels of both versions."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def seconds(self) -> float | None:
        """Return the time used so far, None once the group is gone."""
        try:
            text = self._file.read_text()
        except OSError:
            return None
        if self._file.name == "cpuacct.usage":
            return int(text) / 1e9
        fields = dict(line.split() for line in text.splitlines())
        return int(fields["usage_usec"]) / 1e6


def find_cgroup(container_id: str) -> CgroupUsage | None:
    """Return the control group of a running container, wherever its engine has put it."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and (found := _of_process(process, container_id)):
            return found
    return None


def _of_process(process: Path, container_id: str) -> CgroupUsage | None:
    try:
        text = (process / "cgroup").read_text()
    except OSError:
        return None  # it has ended
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if container_id not in path:
            continue
        below = path.lstrip("/")
        if controllers == "":
            candidates = [_CGROUPS / below / "cpu.stat"]
        elif "cpuacct" in controllers.split(","):
            candidates = [_CGROUPS / controllers / below / "cpuacct.usage"]
            candidates.append(_CGROUPS / "cpuacct" / below / "cpuacct.usage")
        else:
            continue
        for candidate in candidates:
            # Where both versions are mounted, the second one may count nothing.
            if candidate.is_file() and "usage" in candidate.name + candidate.read_text():
                return CgroupUsage(candidate)
    return None


def process_seconds(pid: int) -> float:
    """Return the processor time of a living process, in steps of the kernel's clock (10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ContainerWatch:
    """Follow a control group in a thread until it is gone; `seconds` is what it used."""

    def __init__(self, group: CgroupUsage) -> None:
        self._group = group
        self.seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="cgroup", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._over.is_set():
            seconds = self._group.seconds()
            if seconds is None:
                return
            self.seconds = seconds
            time.sleep(_INTERVAL_SECONDS)
