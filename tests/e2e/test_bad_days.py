"""Bad days of a machine: dead containers, no engine, full disks, odd places. Runs on: host."""

import json
import os
import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from docker.models.containers import Container

from runner.contract.outcome import ExitCode
from runner.contract.status import Status
from tests.support.ends import assert_ended, assert_nothing_left, assert_refused
from tests.support.engine_process import engine_process
from tests.support.engine_view import EngineView
from tests.support.massgen import BIN, Completed, Project, Running
from tests.support.odd_places import UNPRIVILEGED, full_disk, mute_engine, small_disk
from tests.support.provider import Cooperate, Hold, NewAnswer, Provider, Rule, Script, Silence, Text

pytestmark = pytest.mark.docker

PATIENT = {"stall_timeout_seconds": 120}
QUESTION = ("--automation", "--config", "config.yaml", "What is the answer?")


def _reason(status: Status) -> str:
    assert status.meta.outcome is not None
    return status.meta.outcome.reason


def _crash(container: Container) -> None:
    """Let the program in the container crash; its init passes no such signal on."""
    rows = container.top(ps_args="-eo pid,comm")["Processes"]
    program = next(int(pid) for pid, name in rows if name.startswith("python"))
    os.kill(program, signal.SIGSEGV)


DEATHS: dict[str, tuple[Callable[[Container], None], ExitCode, str]] = {
    "killed": (lambda c: c.kill(), ExitCode.EXECUTION, "killed"),
    "crashed": (_crash, ExitCode.EXECUTION, "SIGSEGV"),
    "stopped": (lambda c: c.stop(timeout=5), ExitCode.INTERRUPTED, "stopped"),
    "removed": (lambda c: c.remove(force=True), ExitCode.EXECUTION, ""),
}


@pytest.mark.parametrize("death", DEATHS)
def test_container_dies(
    project: Project, provider: Provider, engine_view: EngineView, death: str
) -> None:
    """A container that is killed, stopped or removed from outside: said so, and told true."""
    do, code, reason = DEATHS[death]
    provider.always(Silence())
    project.write_config(provider.url, runner=PATIENT)
    with project.ask() as running:
        provider.log.wait_for_requests(2)
        do(engine_view.container(running.wait_run_id()))
        status = assert_ended(running.finish(), code, engine_view, project)
    assert reason in _reason(status)


def test_out_of_memory(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """A container that needs more memory than it may have: 2, with what to raise."""
    provider.always(Text("y" * 60_000_000, tokens_per_chunk=8192))
    project.write_config(provider.url, runner={"memory": "64m"})
    status = assert_ended(project.answer(), ExitCode.EXECUTION, engine_view, project)
    assert "memory" in _reason(status)


@pytest.mark.slow
def test_paused(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """A paused container is ended when its time is over: 3."""
    provider.always(Silence())
    project.write_config(provider.url, runner=PATIENT)
    with project.ask("Why?", "--orchestrator-timeout", "4") as running:
        provider.log.wait_for_requests(2)
        engine_view.container(running.wait_run_id()).pause()
        assert_ended(running.finish(), ExitCode.TIMEOUT, engine_view, project)


def test_paused_and_resumed(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """A container that was paused for a while goes on."""
    provider.always(Hold("gate", Text("Done.")))
    project.write_config(provider.url, agents=["solo"], runner=PATIENT)
    with project.ask() as running:
        provider.log.wait_for_requests(1)
        container = engine_view.container(running.wait_run_id())
        container.pause()
        provider.release("gate")
        container.unpause()
        assert_ended(running.finish(), ExitCode.SUCCESS, engine_view, project)


def test_unknown_image(project: Project) -> None:
    """An image that the engine does not have: 1, with its name."""
    project.write_config("http://127.0.0.1:9/v1", runner={"image": "no-such-image:1"})
    assert_refused(project.answer(), project, "no-such-image:1")


def test_image_deleted_during_the_run(
    project: Project, provider: Provider, engine_view: EngineView, run_image: str
) -> None:
    """A run whose image is taken away goes on: its container has what it needs."""
    name = f"runner-test/deleted:{secrets.token_hex(4)}"
    engine_view.client.images.get(run_image).tag(name)
    provider.always(Hold("deleted", Cooperate()))
    project.write_config(provider.url, runner={**PATIENT, "image": name})
    with project.ask() as running:
        provider.log.wait_for_requests(2)
        engine_view.client.images.remove(name, force=True)
        provider.release("deleted")
        done = running.finish()
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    again = project.answer()
    assert again.exit_code == ExitCode.CONFIGURATION
    assert name in again.stderr


def test_no_engine(project: Project, tmp_path: Path) -> None:
    """Where DOCKER_HOST leads nowhere: 1, naming it."""
    project.write_config("http://127.0.0.1:9/v1")
    nowhere = f"unix://{tmp_path}/nowhere.sock"
    assert_refused(project.answer(env={"DOCKER_HOST": nowhere}), project, "nowhere.sock")


def test_dead_socket(project: Project, tmp_path: Path) -> None:
    """A socket where nobody listens any more: 1."""
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        project.write_config("http://127.0.0.1:9/v1")
        assert_refused(project.answer(env={"DOCKER_HOST": f"unix://{path}"}), project, "dead.sock")
    path.unlink()


def test_socket_without_permission(project: Project, tmp_path: Path) -> None:
    """A socket that may not be used: 1, and what to do about it."""
    project.write_config("http://127.0.0.1:9/v1")
    with mute_engine(tmp_path / "closed.sock") as engine:
        (tmp_path / "closed.sock").chmod(0)
        done = _unprivileged(project, {"DOCKER_HOST": engine.url})
    assert_refused(done, project, "permission")


def _unprivileged(project: Project, env: dict[str, str]) -> Completed:
    command = [*UNPRIVILEGED, str(BIN / "massgen"), *QUESTION]
    with Running(command, cwd=project.directory, env={**project.environment, **env}) as running:
        return running.finish()


def test_place_that_may_not_be_written(project: Project) -> None:
    """A working directory without write permission: 1, naming it."""
    project.write_config("http://127.0.0.1:9/v1")
    project.directory.chmod(0o555)
    done = _unprivileged(project, {})
    project.directory.chmod(0o755)
    assert_refused(done, project, str(project.directory))


def test_disk_full_from_the_start(project: Project) -> None:
    """No room for a log directory: 1, saying that the disk is full."""
    project.write_config("http://127.0.0.1:9/v1")
    with full_disk(project.directory / ".massgen"):
        done = project.answer()
        assert done.exit_code in {ExitCode.CONFIGURATION, ExitCode.EXECUTION}, done
        assert "space" in done.stderr
        assert "Traceback" not in done.stderr


def test_disk_full_during_the_run(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """A disk that fills up while agents speak: 2, and the status file is closed all the same."""
    much = NewAnswer("y" * 100, saying="x" * 8_000_000, tokens_per_chunk=1024)
    provider.play(Script(rules=(Rule((much,), step="answer"),)))
    project.write_config(provider.url)
    with small_disk(project.directory / ".massgen", "3m"):
        status = assert_ended(project.answer(), ExitCode.EXECUTION, engine_view, project)
    assert "disk full" in _reason(status)


@pytest.mark.parametrize(
    "name", ["with spaces", "quo'te\"s $HOME `id`", "日本語 ünï", "-dash", "comma,colon:x", "%s{}"]
)
def test_odd_working_directory(
    tmp_path: Path, run_image: str, provider: Provider, engine_view: EngineView, name: str
) -> None:
    """Any name of a directory will do."""
    project = Project(tmp_path, name)
    project.write_config(provider.url)
    done = project.answer()
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    assert done.log_dir.is_relative_to(project.directory)


def test_working_directory_with_a_newline(tmp_path: Path, provider: Provider) -> None:
    """A name that cannot be printed in one line is refused, in one line."""
    project = Project(tmp_path, "two\nlines")
    project.write_config(provider.url)
    done = project.answer()
    assert_refused(done, project)
    assert "two\nlines" not in done.stderr


def test_working_directory_removed(project: Project) -> None:
    """A working directory that is gone: 1, not a traceback."""
    gone = project.root / "gone"
    gone.mkdir()
    config = project.write_config("http://127.0.0.1:9/v1")
    command = f"cd {gone} && rmdir {gone} && massgen --automation --config {config} x"
    with project.shell(command) as running:
        done = running.finish()
    assert_refused(done, project)


def test_no_home(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """Without HOME a run works."""
    project.write_config(provider.url)
    done = project.answer(env={"HOME": None})
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)


def test_question_of_a_megabyte(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """A question of a megabyte arrives whole."""
    question = "Why? " * 200_000
    project.write_config(provider.url, agents=["solo"])
    path = project.root / "question.txt"
    path.write_text(question)
    with path.open("rb") as file:
        done = project.answer("-", stdin=file)
    status = assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    assert status.meta.question == question.strip()
    assert question.strip() in json.dumps(provider.requests[0].json)


@pytest.mark.parametrize("question", ["", "   ", "\n"])
def test_empty_question(project: Project, question: str) -> None:
    """An empty question: 1."""
    project.write_config("http://127.0.0.1:9/v1")
    assert_refused(project.answer(question), project, "question")


def test_question_with_nul(project: Project) -> None:
    """A question with NUL: 1."""
    project.write_config("http://127.0.0.1:9/v1")
    with project.shell(r"printf 'a\0b' | massgen --automation --config config.yaml -") as running:
        assert_refused(running.finish(), project, "NUL")


def test_question_like_an_option(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """A question that begins with a dash goes after `--`; without it the error says so."""
    project.write_config(provider.url)
    refused = project.answer("-why not?")
    assert_refused(refused, project, "--")
    done = project.answer("-why not?", "--")
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    assert done.said["QUESTION"] == "-why not?"


@pytest.mark.slow
@pytest.mark.parametrize("returns", [True, False])
def test_engine_stops_during_a_run(
    project: Project,
    provider: Provider,
    engine_view: EngineView,
    run_image: str,
    *,
    returns: bool,
) -> None:
    """An engine that is stopped, and maybe started again, during a run: 2, and closed.

    Once it is back, the container is removed too.
    """
    provider.always(Silence())
    project.write_config(provider.url, runner=PATIENT)
    with engine_process() as engine:
        engine.load(run_image, engine_view)
        with project.ask(env={"DOCKER_HOST": engine.url}) as running:
            provider.log.wait_for_requests(2)
            run_id = running.wait_run_id()
            engine.stop()
            if returns:
                engine.start()
            done = running.finish(120)
        assert done.exit_code == ExitCode.EXECUTION, done
        outcome = done.status.meta.outcome
        assert outcome is not None
        assert outcome.exit_code == ExitCode.EXECUTION
        if returns:
            view = EngineView(engine.url)
            assert_nothing_left(view, project, run_id)
            view.close()
