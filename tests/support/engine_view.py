"""What the container engine knows, seen past our own code. Runs on: host."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException
from docker.models.containers import Container

from runner.host.engine_address import find_engine

LABEL_RUN_ID = "dev.runner.run-id"


class EngineView:
    """A docker client of the tests' own."""

    def __init__(self, url: str | None = None) -> None:
        self.client = docker.DockerClient(base_url=url or find_engine(os.environ), timeout=60)

    def close(self) -> None:
        self.client.close()

    def containers(self, run_id: str | None = None) -> list[Container]:
        """Return our containers in any state: all, or those of one run."""
        label = LABEL_RUN_ID if run_id is None else f"{LABEL_RUN_ID}={run_id}"
        found: list[Container] = self.client.containers.list(
            all=True, filters={"label": label}, ignore_removed=True
        )
        return found

    def container(self, run_id: str) -> Container:
        """Return the one container of a run."""
        (container,) = self.containers(run_id)
        return container

    def processes(self, run_id: str) -> list[int]:
        """Return the pids, on the host, of a run's container."""
        top = self.container(run_id).top(ps_args="-eo pid,comm")
        return [int(row[0]) for row in top["Processes"]]

    def texts(self) -> Iterator[tuple[str, bytes]]:
        """Yield what `inspect`, the images' histories and our containers' logs say."""
        api = self.client.api
        for container in self.containers():
            yield f"inspect of container {container.name}", _json(container.attrs)
            yield f"log of container {container.name}", _log(container)
        for image in self.client.images.list():
            yield f"inspect of image {image.id}", _json(image.attrs)
            with suppress(DockerException):  # another test may be removing it
                yield f"history of image {image.id}", _json(image.history())
        yield "volumes", _json(api.volumes())
        yield "networks", _json(api.networks())

    def report(self) -> str:
        """Return state, log and inspect of every container of ours, for a failed test."""
        return "\n".join(_described(container) for container in self.containers())


def _described(container: Container) -> str:
    log = _log(container).decode(errors="replace")
    details = json.dumps(container.attrs, indent=1)
    return f"--- {container.name}: {container.status}\n{log}\n{details}"


def _log(container: Container) -> bytes:
    """Return the last lines; none where the container is being removed by somebody else."""
    try:
        lines: bytes = container.logs(tail=200)
    except DockerException:
        return b""
    return lines


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def processes_marked(mark: str) -> list[str]:
    """Return the command lines of living processes whose environment holds `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark.encode() in (entry / "environ").read_bytes():
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found.append(f"{entry.name}: {command.decode(errors='replace')}")
        except OSError:
            continue  # it has ended
    return found
