"""What a run on the host does with its keys: none in tracebacks, none in its children."""

import os
from collections.abc import Mapping

import pytest

from runner.config.load import load_config
from runner.contract.outcome import ExitCode
from runner.host.launch import run
from runner.host.run_request import RunRequest
from runner.report.automation import AutomationLines
from tests.support.massgen import Project
from tests.support.planted_keys import planted_keys, search
from tests.support.provider import Provider

pytestmark = pytest.mark.docker


class EchoingObserver(AutomationLines):
    """Fails with what a provider said that repeats the key."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def announced(self, *_: object) -> None:
        raise RuntimeError(f"the provider said: Incorrect API key provided: {self._key}")


def request(project: Project, environ: Mapping[str, str]) -> RunRequest:
    loaded = load_config("config.yaml", cwd=project.directory)
    return RunRequest(loaded, "Why?", project.directory, {**os.environ, **environ}, debug=True)


def test_an_error_that_repeats_the_key(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Traceback, reason and status file of a run have the key masked."""
    keys = planted_keys("ODD_NAME")
    project.write_config("http://127.0.0.1:9/v1", backend={"api_key": "${ODD_NAME}"})
    finished = run(request(project, keys), EchoingObserver(keys["ODD_NAME"]))
    assert finished.outcome.exit_code == ExitCode.EXECUTION
    said = capsys.readouterr()
    assert "Traceback" in said.err
    assert "Incorrect API key provided: [redacted]" in said.err
    places = [("stderr", said.err), ("stdout", said.out), ("reason", str(finished.outcome.reason))]
    places.append(("status", finished.log.status.read_text()))
    assert search(keys, [(name, text.encode()) for name, text in places]) == []


def test_programs_that_a_run_starts_get_no_key(project: Project, provider: Provider) -> None:
    """The environment of git, started for the run's metadata, has every variable but the keys."""
    keys = planted_keys("ODD_NAME", "OPENAI_API_KEY", "ELSE_API_KEY")
    project.write_config(provider.url, backend={"api_key": "${ODD_NAME}"})
    bin_directory, seen = project.root / "bin", project.root / "seen"
    bin_directory.mkdir()
    seen.mkdir()
    git = bin_directory / "git"
    git.write_text(f'#!/bin/sh\ncat /proc/$$/environ > "{seen}/$$"\nexit 1\n')
    git.chmod(0o755)
    path = f"{bin_directory}:{project.environment['PATH']}"
    with project.ask(env={**keys, "PATH": path, "HARMLESS": "stays"}) as running:
        done = running.finish()
    assert done.exit_code == ExitCode.SUCCESS, done
    environments = [(file.name, file.read_bytes()) for file in seen.iterdir()]
    assert environments
    assert all(b"HARMLESS=stays" in content for _, content in environments)
    assert search(keys, environments) == []
    assert all(b"ODD_NAME" not in content for _, content in environments)
