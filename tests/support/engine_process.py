"""A container engine of a test's own, which it may stop and start again. Runs on: host, root."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from tests.support.engine_view import EngineView

_START_SECONDS = 60.0


class EngineProcess:
    """`dockerd` with all its directories below one, bridge and iptables switched off."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{directory}/docker.sock"

    @property
    def command(self) -> list[str]:
        at = str(self._directory)
        files = ["--data-root", f"{at}/data", "--exec-root", f"{at}/exec", "--pidfile", f"{at}/pid"]
        return ["dockerd", *files, "--host", self.url, "--bridge=none", "--iptables=false"]

    def start(self) -> None:
        """Start it and wait until it answers; TimeoutError with its log otherwise."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                said = (self._directory / "log").read_text(errors="replace")[-2000:]
                raise TimeoutError(f"dockerd did not start: {said}")
            time.sleep(0.1)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it; its containers end with it on SIGTERM, and live on after SIGKILL."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def load(self, image: str, source: EngineView) -> None:
        """Copy an image from another engine."""
        client = docker.DockerClient(base_url=self.url, timeout=120)
        try:
            client.images.load(b"".join(source.client.images.get(image).save(named=True)))
        finally:
            client.close()

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(self._directory / "docker.sock"))
                connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in connection.recv(64)
        except OSError:
            return False


@contextmanager
def engine_process() -> Iterator[EngineProcess]:
    """Start an engine in a directory of its own; stop it and remove the directory in the end."""
    directory = Path(tempfile.mkdtemp(prefix="engine-"))  # short: a socket's path has 107 bytes
    engine = EngineProcess(directory)
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()
        _end_shims(directory)
        _unmount_below(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _end_shims(directory: Path) -> None:
    """End processes of this engine that a SIGKILL of it has left."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(directory).encode() in command and int(entry.name) != os.getpid():
                os.kill(int(entry.name), signal.SIGKILL)


def _unmount_below(directory: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
