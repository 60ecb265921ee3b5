"""The processes that are measured: our gateway and LiteLLM's proxy. Runs on: host."""

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import aiohttp
import yaml

from bench.gateway import MODEL
from bench.place import Place
from bench.processes import MAX_ERROR_CHARACTERS, MeasurementError
from runner.contract.run_socket import USAGE_PATH, model_path

_START_SECONDS = 180.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.002
_BUDGET_USD = 1000


class Name(StrEnum):
    """What is measured, by its name in the JSON report."""

    GATEWAY = "gateway"
    BUDGET = "gateway_with_budget"
    LITELLM = "litellm"
    FORWARDER = "forwarder"


class Address(NamedTuple):
    """Where model calls go: a URL, over a Unix socket where one is named."""

    url: str
    socket: Path | None = None
    key: str | None = None
    """Made up for the run."""

    def session(self) -> aiohttp.ClientSession:
        """Return a client without a limit of its own; to be closed."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        connector: aiohttp.BaseConnector
        if self.socket is None:
            connector = aiohttp.TCPConnector(limit=0)
        else:
            connector = aiohttp.UnixConnector(str(self.socket), limit=0)
        return aiohttp.ClientSession(connector=connector, headers=headers)


class Subject(NamedTuple):
    """How one of them is started and reached."""

    name: Name
    command: tuple[str, ...]
    environ: Mapping[str, str]
    calls: Address
    ready: Address
    """Answers 200 once calls are taken."""


class Started(NamedTuple):
    pid: int
    seconds: float
    """From before the process was made until it answered."""


def gateway(place: Place, name: Name) -> Subject:
    """Return our gateway in a directory of its own, with a budget in USD or without one."""
    directory = place.directory / name
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "bench.gateway.serve", str(directory), place.provider_url]
    if name == Name.BUDGET:
        command += ["--budget-usd", str(_BUDGET_USD)]
    run_socket = directory / "run.sock"
    return Subject(
        name,
        tuple(command),
        place.plain_environ(),
        Address(f"http://gateway{model_path('agent_a', 'chat')}", run_socket),
        Address(f"http://gateway{USAGE_PATH}", run_socket),
    )


def litellm(place: Place, command: Path) -> Subject:
    """Return LiteLLM's proxy as its documentation sets it up for production; no database."""
    params = {"model": f"openai/{MODEL}", "api_base": place.provider_url, "api_key": "unused"}
    content = {
        "model_list": [{"model_name": MODEL, "litellm_params": params}],
        "litellm_settings": {"set_verbose": False, "request_timeout": 600},
    }
    config = place.directory / "litellm.yaml"
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    port = free_port()
    key = f"sk-{secrets.token_hex(32)}"  # it does not start without a good one
    options = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environ = {
        **place.plain_environ(),
        "PATH": f"{command.parent}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": "",
        "LITELLM_MASTER_KEY": key,
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # otherwise it is fetched at each start
    }
    root = f"http://127.0.0.1:{port}"
    return Subject(
        Name.LITELLM,
        (str(command), *options, "--num_workers", "1"),
        environ,
        Address(f"{root}/v1/chat/completions", key=key),
        Address(f"{root}/health/liveliness"),
    )


def litellm_version(command: Path) -> str:
    """Return the installed version."""
    code = "import importlib.metadata as m; print(m.version('litellm'))"
    done = [str(command.parent / "python"), "-c", code]
    return subprocess.run(done, capture_output=True, text=True, check=True).stdout.strip()


class Pinning(NamedTuple):
    """Which core the measured process has; all others are for provider and client."""

    core: int
    others: frozenset[int]


def pinning() -> Pinning | None:
    """Return how cores are shared out, None where there is only one or no `taskset`."""
    core, *others = sorted(os.sched_getaffinity(0))
    return Pinning(core, frozenset(others)) if others and shutil.which("taskset") else None


@asynccontextmanager
async def started(
    subject: Subject, directory: Path, pinned: Pinning | None
) -> AsyncIterator[Started]:
    """Run a subject while in the block, from when it takes calls."""
    prefix = ("taskset", "--cpu-list", str(pinned.core)) if pinned else ()
    began = time.monotonic()
    with _process([*prefix, *subject.command], subject.environ, directory) as process:
        await _ready(subject, process, directory)
        yield Started(process.pid, time.monotonic() - began)


@contextmanager
def _process(
    command: Sequence[str], environ: Mapping[str, str], directory: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    output = _output(directory)
    with (
        output.open("wb") as file,
        subprocess.Popen(
            command,
            cwd=directory,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


async def _ready(subject: Subject, process: "subprocess.Popen[bytes]", directory: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    async with subject.ready.session() as session:
        while not await _answers(session, subject.ready.url):
            if process.poll() is not None or time.monotonic() > deadline:
                said = _output(directory).read_text(errors="replace")[-MAX_ERROR_CHARACTERS:]
                raise MeasurementError(f"{subject.name} does not take calls: {said}")
            await asyncio.sleep(_POLL_SECONDS)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


def resident_mebibytes(pid: int) -> float:
    """Return the resident memory of a process and all that descend from it, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    own = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    tasks = Path(f"/proc/{pid}/task")
    children = [c for task in tasks.iterdir() for c in (task / "children").read_text().split()]
    return own + sum(resident_mebibytes(int(child)) for child in children)


def _output(directory: Path) -> Path:
    return directory / "output.txt"


def free_port() -> int:
    """Return a port of the loopback that was free a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
