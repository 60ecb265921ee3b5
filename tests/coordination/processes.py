"""A run container's process without a container: a spec, a socket, a log directory. Runs on: host.

The scripted provider listens on the run socket itself, in place of the host's gateway.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema

from runner.contract.log_layout import LogLayout
from runner.contract.spec import AgentSpec, CoordinationSpec, RunSpec
from runner.contract.status import Status, status_schema

DEADLINE_SECONDS = 60.0
_SCHEMA = jsonschema.Draft202012Validator(status_schema())


def agents(*ids: str, **settings: Any) -> tuple[AgentSpec, ...]:
    """Return agents whose models are named after them: `model-a` for agent `a`."""
    return tuple(AgentSpec(id=name, model=f"model-{name}", **settings) for name in ids)


class Ended(NamedTuple):
    """What a run left behind."""

    exit_code: int
    stderr: str
    layout: LogLayout
    statuses: tuple[Status, ...]
    """Every status.json that a reader saw, the last one included."""

    @property
    def status(self) -> Status:
        return self.statuses[-1]

    @property
    def events(self) -> list[dict[str, Any]]:
        return list(json.loads(self.layout.events.read_text()))

    @property
    def event_types(self) -> list[str]:
        return [event["event_type"] for event in self.events]


class Running:
    """A run in a process of its own, with a reader that follows its status.json."""

    def __init__(self, directory: Path, spec: RunSpec, socket: Path) -> None:
        spec_path = directory / "spec.json"
        spec_path.write_text(spec.model_dump_json())
        self.layout = LogLayout(Path(spec.log_dir))
        self.layout.root.mkdir(parents=True, exist_ok=True)
        (directory / "answers").mkdir(exist_ok=True)
        self._statuses: list[Status] = []
        self._stderr = (directory / "stderr").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "runner.coordination"],
            env={
                **os.environ,
                "RUNNER_SPEC": str(spec_path),
                "RUNNER_SOCKET": str(socket),
                "RUNNER_AGENTS_DIR": str(directory / "agents"),
                "RUNNER_ANSWERS_DIR": str(directory / "answers"),
            },
            stderr=self._stderr,
        )

    def read_status(self) -> Status | None:
        """Return status.json as a reader sees it now, checked against the published schema."""
        try:
            content = self.layout.status.read_bytes()
        except FileNotFoundError:
            return None
        _SCHEMA.validate(json.loads(content))
        status = Status.model_validate_json(content)
        if not self._statuses or status != self._statuses[-1]:
            self._statuses.append(status)
        return status

    def wait_until(self, holds: Callable[[Status], bool]) -> Status:
        """Return the first status for which `holds`."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            status = self.read_status()
            if status is not None and holds(status):
                return status
            if self.process.poll() is not None:
                break
            time.sleep(0.005)
        raise AssertionError(f"never came: last status {self._statuses[-1:]}")

    def end(self) -> Ended:
        """Wait for the process's end and return what it left."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read_status()
            time.sleep(0.005)
        exit_code = self.process.wait(timeout=1)
        self.read_status()
        self._stderr.seek(0)
        stderr = self._stderr.read().decode("utf-8", "replace")
        return Ended(exit_code, stderr, self.layout, tuple(self._statuses))

    def interrupt(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._stderr.close()


def spec_in(directory: Path, members: tuple[AgentSpec, ...], **settings: Any) -> RunSpec:
    """Return a spec of a run whose log is below `directory`; settings go where they belong."""
    rules = {name: settings.pop(name) for name in list(settings) if name in _RULES}
    coordination = CoordinationSpec(**rules)
    now = time.time()
    fields = {
        "run_id": "20260101-000000-00000000",
        "root_run_id": "20260101-000000-00000000",
        "session_id": "log_20260101_000000_000000",
        "log_dir": str(directory / "log_20260101_000000_000000"),
        "question": "What is the capital of France?",
        "start_time": now,
        "deadline": now + coordination.orchestrator_timeout_seconds,
        "agents": members,
        "coordination": coordination,
    }
    return RunSpec(**{**fields, **settings})


_RULES = frozenset(CoordinationSpec.model_fields)


@contextmanager
def running(directory: Path, spec: RunSpec, socket: Path) -> Iterator[Running]:
    """Yield a run that has been started; it is killed if the test leaves it alive."""
    run = Running(directory, spec, socket)
    try:
        yield run
    finally:
        run.close()
