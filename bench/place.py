"""A working directory, an environment and a scripted provider for measured runs. Runs on: host."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from bench.processes import MeasurementError
from runner.host.engine import find_engine

ROOT = Path(__file__).resolve().parent.parent
_PASSED_ON = ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "XDG_RUNTIME_DIR")
_WAIT_SECONDS = 30.0
T = TypeVar("T")
SLOW_TOKENS_PER_SECOND = 20
STREAMED_WORD = "word"
"""Of the provider's length of a token, so that each is an event of its own."""
_ANSWER = "The answer is forty-two."


class Request(NamedTuple):
    """A model request as the provider's log has it; times are epoch seconds."""

    model: str
    step: str
    arrived: float
    ended: float | None


class Place:
    """Where measured commands run."""

    def __init__(self, directory: Path, provider_url: str, provider_log: Path) -> None:
        self.directory = directory
        self.provider_url = provider_url
        self._provider_log = provider_log

    def environ(self, checkout: Path = ROOT) -> dict[str, str]:
        """Return a user's environment in which `runner` is that of `checkout`."""
        return {
            **self.plain_environ(checkout),
            # The user's own engine is found by HOME, which is another one here.
            "DOCKER_HOST": find_engine(os.environ),
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        }

    def plain_environ(self, checkout: Path = ROOT) -> dict[str, str]:
        """Return the same without an engine."""
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.directory / "home"),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(checkout),
        }

    def write_config(self, kind: str, content: Mapping[str, Any] | None = None) -> Path:
        """Write a configuration of two agents whose models are called `<kind>-a`, `<kind>-b`."""
        agents = [
            {
                "id": f"agent_{letter}",
                "backend": {
                    "type": "chatcompletion",
                    "base_url": self.provider_url,
                    "model": f"{kind}-{letter}",
                },
            }
            for letter in "ab"
        ]
        path = self.directory / f"{kind}.yaml"
        path.write_text(yaml.safe_dump(content or {"agents": agents}, sort_keys=False))
        return path

    def requests(self, since: float) -> list[Request]:
        """Return the model requests that arrived after an instant."""
        asked: dict[int, dict[str, Any]] = {}
        ends: dict[int, float] = {}
        complete, _, _ = self._provider_log.read_text().rpartition("\n")  # the last may be half
        for line in complete.splitlines():
            entry = json.loads(line)
            if entry["event"] == "request":
                asked[entry["number"]] = entry
            else:
                ends[entry["number"]] = entry["time"]
        found = [
            Request(entry["model"], entry["step"], entry["time"], ends.get(number))
            for number, entry in asked.items()
            if entry["time"] >= since
        ]
        if not found:
            raise MeasurementError("no model was asked")
        return found


def run_script(stream_tokens: int) -> dict[str, Any]:
    """Return the provider's script: what a model does follows from its name.

    `stream-*` give an answer and vote at length, both at once; `slow-*` speak for minutes;
    `silent-*` say nothing; all others answer at once, those of MassGen (`peer-*`) too.
    """
    vote = {"kind": "vote", "agent_id": "agent1", "tokens_per_chunk": 1}
    slow = {
        "kind": "text",
        "text": STREAMED_WORD * 10_000,
        "tokens_per_chunk": 1,
        "delay_seconds_per_chunk": 1 / SLOW_TOKENS_PER_SECOND,
    }
    return {
        "rules": [
            # Restarted by the answer of stream-a, so that both begin to vote at the same time.
            {"model": "stream-b", "step": "answer", "replies": [{"kind": "silence"}]},
            {
                "model": "stream-*",
                "step": "vote",
                "replies": [{**vote, "saying": STREAMED_WORD * stream_tokens}],
            },
            {"model": "slow-*", "replies": [slow]},
            {"model": "silent-*", "replies": [{"kind": "silence"}]},
            # MassGen offers votes before there are answers, so what it has seen decides.
            {"model": "peer-*", "step": "answer", "replies": [{"kind": "text", "text": _ANSWER}]},
            {
                "model": "peer-*",
                "contains": _ANSWER,
                "replies": [{"kind": "vote", "agent_id": "agent1"}],
            },
            {"model": "peer-*", "replies": [{"kind": "new_answer", "content": _ANSWER}]},
        ]
    }


@contextmanager
def place(script: Mapping[str, Any]) -> Iterator[Place]:
    """Yield a temporary place with a provider in a process of its own, which plays `script`."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name).resolve()
        (directory / "home").mkdir()
        script_file, log = directory / "script.json", directory / "requests.jsonl"
        script_file.write_text(json.dumps(script))
        log.touch()
        command = [sys.executable, "-m", "tests.support.provider"]
        command += ["--script", str(script_file), "--log", str(log)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as provider:
            try:
                yield Place(directory, _first_line(provider), log)
            finally:
                provider.terminate()


def _first_line(provider: "subprocess.Popen[str]") -> str:
    if provider.stdout is None:
        raise AssertionError
    url = provider.stdout.readline().strip()
    if not url:
        raise MeasurementError("the scripted provider did not start")
    return url


def wait_for(what: str, found: Callable[[], T | None]) -> T:
    """Return the first thing found. Raises MeasurementError after half a minute."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while (value := found()) is None:
        if time.monotonic() > deadline:
            raise MeasurementError(f"not seen within {_WAIT_SECONDS:g} s: {what}")
        time.sleep(0.002)
    return value
