"""Measure the runner: one value of each figure a round. Runs on: host."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import aiohttp

from bench.cpu import CgroupUsage, ContainerWatch, find_cgroup, process_seconds
from bench.figures import Key, Samples
from bench.place import ROOT, STREAMED_WORD, Place, wait_for
from bench.processes import Command, Finished, MeasurementError, finished
from runner.contract.outcome import ExitCode
from runner.host.container_spec import (
    DEFAULT_CPUS,
    Limits,
    RunContainer,
    container_user,
    create_arguments,
)
from runner.host.engine import Engine, EngineInfo
from runner.host.run_store import RunDirectory

QUESTION = "What is the answer?"
_AGENTS = 2
_MIB = 1024 * 1024
_MASSGEN = Path(sys.executable).parent / "massgen"


class Sizes(NamedTuple):
    """How much is measured in a round."""

    stream_tokens: int
    """For each of the two agents."""
    status_seconds: float


class _Run(NamedTuple):
    """A finished run and the processor time of its container."""

    done: Finished
    container_seconds: float


class RunnerBench:
    """Measures one checkout of the runner, with commands as a user types them."""

    def __init__(
        self,
        place: Place,
        engine: Engine,
        *,
        image: str,
        sizes: Sizes,
        samples: Samples,
        checkout: Path = ROOT,
    ) -> None:
        self._place = place
        self._engine = engine
        self._info: EngineInfo = engine.info()
        self._image = image
        self._sizes = sizes
        self._environ = place.environ(checkout)
        self._samples = samples
        self._configs = {
            kind: place.write_config(kind) for kind in ("model", "stream", "slow", "silent")
        }
        wrong = {"agents": [{"id": "agent_a", "backend": {"type": "no such provider"}}]}
        self._configs["wrong"] = place.write_config("wrong", wrong)

    def warm_up(self) -> None:
        """Build what is built once: the image and bytecode."""
        self._command_line("--help")
        self._run("model")

    def measure(self) -> None:
        """Add one value to each figure."""
        self._start_up()
        self._whole_run()
        self._idle_container()
        self._streaming()
        self._add(Key.SILENT_CPU, self._upkeep("silent"))
        self._add(Key.SPEAKING_CPU, self._upkeep("slow"))

    def _add(self, key: Key, value: float) -> None:
        self._samples.setdefault(key, []).append(value)

    def _command_line(self, *arguments: str, exit_code: int = 0) -> Finished:
        command = [str(_MASSGEN), *arguments]
        return finished(command, self._place.directory, self._environ, exit_code)

    def _start_up(self) -> None:
        imported = [sys.executable, "-c", "import click"]
        done = finished(imported, self._place.directory, self._environ)
        self._add(Key.IMPORT_CLICK, done.wall_seconds)
        self._add(Key.HELP, self._command_line("--help").wall_seconds)
        wrong = self._command_line(*_ask(self._configs["wrong"]), exit_code=ExitCode.CONFIGURATION)
        self._add(Key.CONFIG_ERROR, wrong.wall_seconds)

    def _whole_run(self) -> None:
        run = self._run("model")
        done = run.done
        requests = self._place.requests(done.began)
        self._add(Key.FIRST_LINES, done.lines[3].after)
        self._add(Key.FIRST_REQUEST, min(r.arrived for r in requests) - done.began)
        self._add(Key.RUN_WALL, done.wall_seconds)
        self._add(Key.HOST_CPU, done.cpu_seconds)
        self._add(Key.CONTAINER_CPU, run.container_seconds)
        self._add(Key.RUN_CPU, done.cpu_seconds + run.container_seconds)

    def _run(self, kind: str) -> _Run:
        """Run to the end. Raises MeasurementError unless it succeeds."""
        with self._started(kind) as running:
            for _ in range(4):
                running.read_line()
            with ContainerWatch(self._cgroup(running)) as watch:
                done = running.finish()
        if done.exit_code != ExitCode.SUCCESS:
            raise MeasurementError(f"the run exited {done.exit_code}: {done.errors}")
        return _Run(done, watch.seconds)

    def _started(self, kind: str) -> Command:
        command = [str(_MASSGEN), *_ask(self._configs[kind])]
        return Command(command, self._place.directory, self._environ)

    def _cgroup(self, running: Command) -> CgroupUsage:
        """Return the control group of a run that has printed its first lines."""
        status = json.loads(Path(running.value("STATUS")).read_bytes())
        runs = self._place.directory / ".massgen" / "runs"
        directory = RunDirectory(runs / status["meta"]["run_id"])

        def container_id() -> str | None:
            record = directory.read_record()
            return record.container_id if record else None

        found = wait_for("the container's id in record.json", container_id)
        return wait_for("the container's control group", lambda: find_cgroup(found))

    def _idle_container(self) -> None:
        """Time what any run must at least pay: a container hardened as a run's, doing nothing."""
        config = {**create_arguments(self._idle_spec()), "Entrypoint": ["/bin/true"]}
        began = time.monotonic()
        container = self._engine.create(f"bench-{os.getpid()}", self._image, config)
        try:
            self._engine.start(container)
            self._engine.wait(container)
        finally:
            self._engine.remove(container)
        self._add(Key.IDLE_CONTAINER, time.monotonic() - began)

    def _idle_spec(self) -> RunContainer:
        directory = self._place.directory
        log_dir, socket_dir, spec = (directory / name for name in ("idle", "socket", "spec.json"))
        log_dir.mkdir(exist_ok=True)
        socket_dir.mkdir(exist_ok=True)
        spec.touch()
        return RunContainer(
            run_id="bench",
            parent_run_id=None,
            root_run_id="bench",
            image=self._image,
            user=container_user(
                os.getuid(),
                os.getgid(),
                rootless=self._info.rootless,
                userns_remap=self._info.userns_remap,
            ),
            limits=Limits(1024 * _MIB, DEFAULT_CPUS, 256),
            log_dir=log_dir,
            spec_file=spec,
            socket_dir=socket_dir,
            run_directory=directory,
            owner_uid=os.getuid(),
        )

    def _streaming(self) -> None:
        run = self._run("stream")
        tokens = _AGENTS * self._sizes.stream_tokens
        _check_all_arrived(run.done.log_dir, self._sizes.stream_tokens)
        asked = [r for r in self._place.requests(run.done.began) if r.step == "vote"]
        seconds = _last_vote(run.done.log_dir) - min(r.arrived for r in asked)
        self._add(Key.STREAM_RATE, tokens / seconds)
        self._add(Key.SERVER_RATE, asyncio.run(_read_directly(self._place.provider_url)))
        host = run.done.cpu_seconds - self._samples[Key.HOST_CPU][-1]
        container = run.container_seconds - self._samples[Key.CONTAINER_CPU][-1]
        self._add(Key.STREAM_HOST_CPU, host / tokens * 1e6)
        self._add(Key.STREAM_CONTAINER_CPU, container / tokens * 1e6)

    def _upkeep(self, kind: str) -> float:
        """Return per cent of a CPU that a run takes while its models let it wait."""
        with self._started(kind) as running:
            for _ in range(4):
                running.read_line()
            group = self._cgroup(running)
            began = running.began
            wait_for("both model requests", lambda: self._both_asked(began))
            time.sleep(1)  # start-up is over
            before, at = self._used(running, group), time.monotonic()
            time.sleep(self._sizes.status_seconds)
            used = self._used(running, group) - before
            return 100 * used / (time.monotonic() - at)

    def _both_asked(self, since: float) -> bool | None:
        try:
            return len(self._place.requests(since)) >= _AGENTS or None
        except MeasurementError:
            return None

    def _used(self, running: Command, group: CgroupUsage) -> float:
        return process_seconds(running.pid) + (group.seconds() or 0.0)


def _ask(config: Path) -> tuple[str, ...]:
    return "--automation", "--config", str(config), QUESTION


def _last_vote(log_dir: Path) -> float:
    events = json.loads((log_dir / "coordination_events.json").read_bytes())
    return max(float(event["timestamp"]) for event in events if event["event_type"] == "vote")


def _check_all_arrived(log_dir: Path, tokens: int) -> None:
    """Raise MeasurementError unless each agent's output holds all its tokens."""
    for output in (log_dir / "agent_outputs").glob("agent_*.txt"):
        arrived = output.read_text().count(STREAMED_WORD)
        if arrived != tokens:
            raise MeasurementError(f"{arrived} of {tokens} tokens arrived in {output.name}")


async def _read_directly(url: str) -> float:
    """Return tokens a second of the provider's own, two streams read at once and thrown away.

    A token that is cut by the end of a read is not counted: about one in a thousand.
    """
    body = {
        "model": "stream-a",
        "stream": True,
        "messages": [{"role": "user", "content": "<agent1> said so."}],
        "tools": [_VOTE_TOOL],
    }

    async def read(session: aiohttp.ClientSession) -> int:
        events = 0
        async with session.post(f"{url}/chat/completions", json=body) as response:
            async for chunk in response.content.iter_any():
                events += chunk.count(b'"content": "' + STREAMED_WORD.encode())
        return events

    began = time.monotonic()
    async with aiohttp.ClientSession() as session:
        events = await asyncio.gather(*(read(session) for _ in range(_AGENTS)))
    return sum(events) / (time.monotonic() - began)


_VOTE_TOOL = {
    "type": "function",
    "function": {
        "name": "vote",
        "parameters": {
            "type": "object",
            "properties": {"agent_id": {"type": "string", "enum": ["agent1"]}},
        },
    },
}
