"""The real `massgen` command in a directory and environment of the test's own. Runs on: host."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import jsonschema
import yaml

from runner.contract.log_layout import LogLayout
from runner.contract.status import Status, status_schema

DEADLINE_SECONDS = 90.0
BIN = Path(sys.executable).parent
QUICK = {
    "retry": {"attempts": 2, "max_wait_seconds": 0.2},
    "stall_timeout_seconds": 2,
    "memory": "256m",
}
"""Settings with which a provider's faults take no time."""
MARK = "RUNNER_TEST_MARK"
"""Every process that a test's command starts inherits this variable."""
# Coverage and a checkout that is not the installed one are the tests' own business.
_PASSED_ON = ("DOCKER_HOST", "PYTHONPATH", "COVERAGE_PROCESS_CONFIG")


class Completed(NamedTuple):
    """A command that has ended, and what it left."""

    exit_code: int
    """Negative: the signal that killed it."""
    stdout: str
    stderr: str
    duration_seconds: float

    @property
    def said(self) -> dict[str, str]:
        """The `KEY: value` lines of stdout."""
        pairs = (line.partition(": ") for line in self.stdout.splitlines())
        return {key: value for key, colon, value in pairs if colon and key.isupper()}

    @property
    def log_dir(self) -> Path:
        assert "LOG_DIR" in self.said, f"no LOG_DIR on stdout; stderr: {self.stderr}"
        return Path(self.said["LOG_DIR"])

    @property
    def log(self) -> LogLayout:
        return LogLayout(self.log_dir)

    @property
    def status(self) -> Status:
        return read_status(self.log.status)


def read_status(path: Path) -> Status:
    """Return a status file that must be there and fit the published schema."""
    data = json.loads(path.read_bytes())
    jsonschema.validate(data, status_schema())
    return Status.model_validate(data)


class Running:
    """A command at work. `with project.start(…) as running:` ends it whatever happens."""

    def __init__(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], **options: Any
    ) -> None:
        outputs = Path(env["TMPDIR"]).parent / "outputs"
        outputs.mkdir(exist_ok=True)
        number = len(list(outputs.iterdir()))
        self._out, self._err = outputs / f"{number}.out", outputs / f"{number}.err"
        self._began = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            streams: dict[str, Any] = {
                "stdin": subprocess.DEVNULL,
                "stdout": out,
                "stderr": err,
            } | options
            self.process = subprocess.Popen(
                command, cwd=cwd, env=dict(env), start_new_session=True, **streams
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def output(self) -> Completed:
        """What there is so far; `exit_code` is meaningless while it runs."""
        return Completed(
            self.process.returncode or 0,
            self._out.read_text(errors="replace"),
            self._err.read_text(errors="replace"),
            time.monotonic() - self._began,
        )

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_until(self, true: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
        """Return the first true value of `true()`; fail where the command ends before, or never."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            if value := true():
                return value
            output = self.output
            assert not ended, f"ended with {output.exit_code} too early: {output.stderr}"
            assert time.monotonic() < deadline, f"not seen within {seconds} s: {output}"
            time.sleep(0.02)

    def wait_log_dir(self) -> LogLayout:
        self.wait_until(lambda: "STATUS: " in self.output.stdout)
        return self.output.log

    def wait_status(self, true: Callable[[Status], bool]) -> Status:
        """Wait until the status is as wished; every status seen on the way must be valid."""
        path = self.wait_log_dir().status

        def seen() -> Status | None:
            status = read_status(path)
            return status if true(status) else None

        found: Status = self.wait_until(seen)
        return found

    def wait_run_id(self) -> str:
        return self.wait_status(lambda _: True).meta.run_id

    def finish(self, timeout_seconds: float = DEADLINE_SECONDS) -> Completed:
        """Wait for the end."""
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            message = f"still running after {timeout_seconds} s: {self.output}"
            raise AssertionError(message) from None
        return self.output


class Project:
    """A working directory with a HOME, a TMPDIR and no key but those that the test gives."""

    def __init__(self, root: Path, name: str = "work") -> None:
        self.root = root
        self.directory = root / name
        self.home = root / "home"
        self.tmp = root / "tmp"
        for directory in (self.directory, self.home, self.tmp):
            directory.mkdir(parents=True, exist_ok=True)
        self.mark = f"{root.name}-{os.urandom(8).hex()}"

    @property
    def environment(self) -> dict[str, str]:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return {
            "PATH": f"{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            MARK: self.mark,
            **passed_on,
        }

    def write_config(
        self,
        url: str,
        name: str = "config.yaml",
        *,
        agents: Sequence[str] = ("agent_a", "agent_b"),
        backend: Mapping[str, Any] | None = None,
        backends: Mapping[str, Mapping[str, Any]] | None = None,
        runner: Mapping[str, Any] | None = None,
        **sections: Any,
    ) -> Path:
        """Write a configuration of agents at `url`; the model of agent `x` is called `model-x`.

        `backend` is for all agents, `backends` for some; `sections` are top-level keys.
        """
        described = [
            {
                "id": agent,
                "backend": {
                    "type": "chatcompletion",
                    "base_url": url,
                    "model": f"model-{agent}",
                    "decision_mode": "tools",
                    **(backend or {}),
                    **(backends or {}).get(agent, {}),
                },
            }
            for agent in agents
        ]
        config = {"agents": described, "runner": {**QUICK, **(runner or {})}, **sections}
        path = self.directory / name
        path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        return path

    def start(
        self,
        *arguments: str,
        program: str = "massgen",
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        **options: Any,
    ) -> Running:
        """Start a command; `env` adds variables, None takes one away; `options` are Popen's."""
        command = [str(BIN / program), *arguments]
        return Running(command, cwd=cwd or self.directory, env=self._with(env), **options)

    def ask(self, question: str = "What is the answer?", *more: str, **options: Any) -> Running:
        """Start `massgen --automation --config config.yaml … question`."""
        arguments = ("--automation", "--config", "config.yaml", *more, question)
        return self.start(*arguments, **options)

    def massgen(
        self, *arguments: str, timeout: float = DEADLINE_SECONDS, **options: Any
    ) -> Completed:
        """Run a command to its end."""
        with self.start(*arguments, **options) as running:
            return running.finish(timeout)

    def answer(
        self, question: str = "What is the answer?", *more: str, **options: Any
    ) -> Completed:
        """Run `massgen --automation --config config.yaml … question` to its end."""
        with self.ask(question, *more, **options) as running:
            return running.finish()

    def shell(self, script: str, env: Mapping[str, str | None] | None = None) -> Running:
        """Start a script in bash, with `massgen` on PATH."""
        return Running(["bash", "-c", script], cwd=self.directory, env=self._with(env))

    def _with(self, env: Mapping[str, str | None] | None) -> dict[str, str]:
        merged = {**self.environment, **(env or {})}
        return {name: value for name, value in merged.items() if value is not None}

    def run_ids(self) -> list[str]:
        """Ids of all runs that were started in the project's directory."""
        return sorted(path.parent.name for path in self.directory.glob(".massgen/runs/*/spec.json"))
