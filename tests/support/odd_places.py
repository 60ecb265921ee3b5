"""Places that make trouble: small disks, closed sockets, engines that do not answer.

Runs on: host; mounts need root.
"""

import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Before a command: file modes count for it, also where root runs it."""


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """Mount a file system of `size` (as `mount -o size=`) at `path`."""
    path.mkdir(parents=True, exist_ok=True)
    options = ["-o", f"size={size}", "tmpfs", str(path)]
    subprocess.run(["mount", "-t", "tmpfs", *options], check=True, capture_output=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


class MuteEngine(NamedTuple):
    """An engine's socket that takes connections and never answers."""

    path: Path
    listening: socket.socket

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def has_caller(self) -> bool:
        """Tell whether somebody has connected."""
        readable, _, _ = select.select([self.listening], [], [], 0)
        return bool(readable)


@contextmanager
def mute_engine(path: Path) -> Iterator[MuteEngine]:
    """Listen at `path` for as long as the block lasts."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(16)
        try:
            yield MuteEngine(path, listening)
        finally:
            path.unlink()


@contextmanager
def full_disk(path: Path) -> Iterator[Path]:
    """Mount a small file system at `path` and fill it."""
    with small_disk(path, "1m"), (path / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            yield path
