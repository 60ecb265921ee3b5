"""An engine of the user's own: started, found, stopped, and never mistaken for another process."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import EngineError
from runner.host.engine import connect
from runner.host.own_engine import (
    ATTEMPTS,
    EngineFiles,
    ensure_engine,
    living_pid,
    own_engine_files,
    start_engine,
    stop_own_engine,
)


@pytest.fixture
def state() -> Iterator[Path]:
    """Yield a state directory whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="mr-") as name:
        yield Path(name)


@pytest.fixture
def files(state: Path) -> EngineFiles:
    """Return the files of an engine in the state directory, with its directory made."""
    files = own_engine_files({"XDG_STATE_HOME": str(state)})
    files.directory.mkdir(parents=True)
    return files


def program(state: Path, body: str) -> str:
    """Return a program that stands in for dockerd where it fails to start."""
    path = state / "dockerd"
    path.write_text(f'#!/bin/sh\necho "$@" >> {state}/calls\n{body}\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.docker
def test_engine_is_started_found_and_stopped(files: EngineFiles, state: Path) -> None:
    """The real dockerd answers in its directory, outlives the starter's call, and ends on demand.

    The options that worked before are used again: here those that leave the network alone.
    """
    dockerd = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert dockerd is not None, "install docker.io"
    files.options.write_text("--iptables=false\n--bridge=none")
    environ = {"XDG_STATE_HOME": str(state)}
    lines: list[str] = []
    try:
        start_engine(files, dockerd, lines.append)
        assert lines == [f"starting an engine in {files.directory}"]
        assert living_pid(files) is not None
        with connect({"DOCKER_HOST": files.url}) as engine:
            assert engine.info().name == "docker"
    finally:
        stopped = stop_own_engine(environ)
    assert stopped
    assert living_pid(files) is None
    assert not stop_own_engine(environ)


def test_engine_that_does_not_start_says_why(files: EngineFiles, state: Path) -> None:
    """Less and less demanding options are tried; the error has the engine's reason and its log."""
    dockerd = program(state, "echo 'level=info msg=x'; echo 'failed to start daemon: no iptables'")
    lines: list[str] = []
    with pytest.raises(EngineError, match=r"failed to start daemon: no iptables: see .*log"):
        start_engine(files, dockerd, lines.append)
    calls = (state / "calls").read_text().splitlines()
    assert len(ATTEMPTS) == len(calls)
    assert not files.options.exists()


def test_stale_pid_file_names_nobody(files: EngineFiles, state: Path) -> None:
    """A pid file with the number of some other living process leads to no kill."""
    for content in (str(os.getpid()), "999999999", "", "x", "-1"):
        files.pid.write_text(content)
        assert living_pid(files) is None
        assert not stop_own_engine({"XDG_STATE_HOME": str(state)})


def test_chosen_engine_is_never_replaced(state: Path) -> None:
    """Where DOCKER_HOST names an engine that does not answer, none is started instead."""
    environ = {"XDG_STATE_HOME": str(state), "DOCKER_HOST": f"unix://{state}/none.sock"}
    with pytest.raises(EngineError, match="DOCKER_HOST"):
        ensure_engine(environ, lambda _line: None)
    assert not any(state.iterdir())


@pytest.mark.docker
def test_engine_that_answers_is_used(state: Path) -> None:
    """Nothing is installed or started where an engine answers already."""
    environ = {**os.environ, "XDG_STATE_HOME": str(state)}
    lines: list[str] = []
    if "DOCKER_HOST" not in environ:
        environ.pop("XDG_STATE_HOME")
    url = ensure_engine(environ, lines.append)
    assert url.partition("://")[1]
    assert not lines


def test_path_too_long_for_a_socket_is_said() -> None:
    """A state directory with a very long name is refused with a remedy."""
    with pytest.raises(EngineError, match="XDG_STATE_HOME"):
        own_engine_files({"XDG_STATE_HOME": f"/{'x' * 100}"})
