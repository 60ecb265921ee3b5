"""A provider on a run socket, and runs against it. Runs on: host."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.contract.spec import AgentSpec
from tests.coordination.processes import Ended, Running, running, spec_in
from tests.support.provider import Provider

Run = Callable[..., Ended]


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "run.sock"


@pytest.fixture
def models(socket: Path) -> Iterator[Provider]:
    """A scripted provider that listens on the run socket."""
    with Provider(unix_path=socket) as provider:
        yield provider


@pytest.fixture
def run(tmp_path: Path, socket: Path) -> Run:
    """Carry out a run of some agents to its end."""

    def run_to_the_end(members: tuple[AgentSpec, ...], **settings: Any) -> Ended:
        with running(tmp_path, spec_in(tmp_path, members, **settings), socket) as started:
            return started.end()

    return run_to_the_end


@pytest.fixture
def start(tmp_path: Path, socket: Path) -> Iterator[Callable[..., Running]]:
    """Start a run and leave it to the test; it is killed at the test's end if it is alive."""
    started: list[Running] = []

    def start_run(members: tuple[AgentSpec, ...], **settings: Any) -> Running:
        started.append(Running(tmp_path, spec_in(tmp_path, members, **settings), socket))
        return started[-1]

    yield start_run
    for run_ in started:
        run_.close()
