"""Ctrl-C and SIGTERM in every phase, and streams that close early. Runs on: host."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from runner.contract.outcome import ExitCode
from runner.contract.status import AgentStatus
from tests.support.ends import assert_ended, assert_nothing_left, assert_refused
from tests.support.engine_view import EngineView
from tests.support.massgen import Project, Running
from tests.support.odd_places import mute_engine
from tests.support.provider import Hold, Provider, Rule, Script, Silence, Text
from tests.support.provider.request import Step

pytestmark = pytest.mark.docker

PATIENT = {"stall_timeout_seconds": 60}
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def _hang_at(provider: Provider, step: Step) -> None:
    provider.play(Script(rules=(Rule((Silence(),), step=step),)))


@BOTH
def test_before_anything(project: Project, tmp_path: Path, number: signal.Signals) -> None:
    """Interrupted while the engine does not answer: 4, and nothing was made."""
    with mute_engine(tmp_path / "mute.sock") as engine:
        project.write_config("http://127.0.0.1:9/v1")
        with project.ask(env={"DOCKER_HOST": engine.url}) as running:
            running.wait_until(engine.has_caller)
            running.send(number)
            done = running.finish()
    assert done.exit_code == ExitCode.INTERRUPTED, done
    assert "Traceback" not in done.stderr
    assert not list(project.directory.glob(".massgen/massgen_logs/*/"))


@BOTH
def test_while_the_container_starts(
    project: Project, provider: Provider, engine_view: EngineView, number: signal.Signals
) -> None:
    """Interrupted as soon as the first lines are out: 4."""
    provider.always(Silence())
    project.write_config(provider.url, runner=PATIENT)
    with project.ask() as running:
        running.wait_log_dir()
        running.send(number)
        assert_ended(running.finish(), ExitCode.INTERRUPTED, engine_view, project)


@BOTH
@pytest.mark.parametrize("step", ["answer", "vote", "text"])
def test_while_a_model_speaks(
    project: Project,
    provider: Provider,
    engine_view: EngineView,
    step: Step,
    number: signal.Signals,
) -> None:
    """Interrupted in the initial answers, in the vote, in the presentation: 4."""
    _hang_at(provider, step)
    project.write_config(provider.url, runner=PATIENT)
    with project.ask() as running:
        provider.log.wait_for_requests(1, step=step)
        running.send(number)
        done = running.finish()
    status = assert_ended(done, ExitCode.INTERRUPTED, engine_view, project)
    assert done.said["ERROR"].startswith("interrupted:")
    assert all(agent.status is not AgentStatus.STREAMING for agent in status.agents.values())


@BOTH
def test_while_ending(
    project: Project, provider: Provider, engine_view: EngineView, number: signal.Signals
) -> None:
    """Interrupted when the answer is there: 0 or 4, and everything says the same."""
    project.write_config(provider.url)
    with project.ask() as running:
        running.wait_status(lambda status: status.results.winner is not None)
        if running.process.poll() is None:
            running.send(number)
        done = running.finish()
    assert done.exit_code in {ExitCode.SUCCESS, ExitCode.INTERRUPTED}, done
    assert_ended(done, ExitCode(done.exit_code), engine_view, project)


def _stop_processes(engine: EngineView, run_id: str) -> None:
    """Stop the container's processes, so that they do not react to SIGTERM."""
    for pid in engine.processes(run_id):
        os.kill(pid, signal.SIGSTOP)


def test_second_ctrl_c(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """A container that does not react to the first Ctrl-C is killed at the second."""
    provider.always(Silence())
    project.write_config(provider.url, runner=PATIENT)
    with project.ask() as running:
        provider.log.wait_for_requests(2)
        _stop_processes(engine_view, running.wait_run_id())
        running.send(signal.SIGINT)
        running.send(signal.SIGINT)
        assert_ended(running.finish(), ExitCode.INTERRUPTED, engine_view, project)


def test_container_that_does_not_react(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """One Ctrl-C is enough in the end, also where the container hangs."""
    provider.always(Silence())
    project.write_config(provider.url, runner=PATIENT)
    with project.ask() as running:
        provider.log.wait_for_requests(2)
        _stop_processes(engine_view, running.wait_run_id())
        running.send(signal.SIGINT)
        assert_ended(running.finish(), ExitCode.INTERRUPTED, engine_view, project)


@pytest.mark.slow
def test_container_that_hangs_over_its_time(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """The time limit is enforced from outside where the container hangs: 3."""
    provider.always(Silence())
    project.write_config(provider.url, runner=PATIENT)
    with project.ask("Why?", "--orchestrator-timeout", "4") as running:
        provider.log.wait_for_requests(2)
        _stop_processes(engine_view, running.wait_run_id())
        assert_ended(running.finish(), ExitCode.TIMEOUT, engine_view, project)


def test_killed_supervisor(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """After kill -9 of the command, `massgen-runner clean` removes and closes what is left."""
    provider.always(Silence())
    project.write_config(provider.url, runner=PATIENT)
    with project.ask() as running:
        provider.log.wait_for_requests(2)
        run_id = running.wait_run_id()
        running.send(signal.SIGKILL)
        killed = running.finish()
    assert len(engine_view.containers(run_id)) == 1
    cleaned = project.massgen("clean", program="massgen-runner")
    assert cleaned.exit_code == 0, cleaned
    outcome = killed.status.meta.outcome
    assert outcome is not None
    assert outcome.exit_code != ExitCode.SUCCESS
    assert_nothing_left(engine_view, project, run_id)


def test_clean_leaves_living_runs_alone(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """`massgen-runner clean` beside a run that is at work does not touch it."""
    provider.always(Hold("gate", Text("Done.")))
    project.write_config(provider.url, agents=["solo"], runner=PATIENT)
    with project.ask() as running:
        provider.log.wait_for_requests(1)
        assert project.massgen("clean", program="massgen-runner").exit_code == 0
        provider.release("gate")
        assert_ended(running.finish(), ExitCode.SUCCESS, engine_view, project)


def test_stop_command(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """`massgen-runner stop` ends a run with 4."""
    provider.always(Silence())
    project.write_config(provider.url, runner=PATIENT)
    with project.ask() as running:
        provider.log.wait_for_requests(2)
        stopped = project.massgen("stop", running.wait_run_id(), program="massgen-runner")
        assert stopped.exit_code == 0, stopped
        assert_ended(running.finish(), ExitCode.INTERRUPTED, engine_view, project)


def _shell(project: Project, redirection: str) -> Running:
    command = "massgen --automation --config config.yaml 'What is the answer?'"
    return project.shell(f"{command} {redirection}")


@pytest.mark.parametrize(
    "redirection",
    ["| head -1; exit ${PIPESTATUS[0]}", ">&-", ">/dev/full", "| true; exit ${PIPESTATUS[0]}"],
)
def test_stdout_closed_early(
    project: Project, provider: Provider, engine_view: EngineView, redirection: str
) -> None:
    """A reader that goes away does not end the run: 0, the answer is on disk."""
    project.write_config(provider.url)
    with _shell(project, redirection) as running:
        done = running.finish()
    assert done.exit_code == ExitCode.SUCCESS, done
    (log_dir,) = project.directory.glob(".massgen/massgen_logs/log_*")
    said = done._replace(stdout=f"LOG_DIR: {log_dir}\n")
    assert_ended(said, ExitCode.SUCCESS, engine_view, project, ending=False)


@pytest.mark.parametrize("redirection", ["2>&-", "<&-", "2>/dev/full", "<&- 2>&-"])
def test_other_streams_closed(
    project: Project, provider: Provider, engine_view: EngineView, redirection: str
) -> None:
    """A closed stderr or stdin changes nothing."""
    project.write_config(provider.url)
    with _shell(project, redirection) as running:
        assert_ended(running.finish(), ExitCode.SUCCESS, engine_view, project)


def test_no_question(project: Project) -> None:
    """No question on a closed or empty standard input: 1, at once."""
    project.write_config("http://127.0.0.1:9/v1")
    assert_refused(project.massgen("--automation", "--config", "config.yaml"), project, "question")
    with project.start("--config", "config.yaml", stdin=subprocess.PIPE) as running:
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert_refused(running.finish(), project, "question")


def test_question_on_a_pipe(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """A question comes from standard input, by `-` or by its absence."""
    project.write_config(provider.url)
    for end in ("-", ""):
        script = f"echo 'From a pipe?' | massgen --automation --config config.yaml {end}"
        with project.shell(script) as running:
            done = running.finish()
        assert_ended(done, ExitCode.SUCCESS, engine_view, project)
        assert done.said["QUESTION"] == "From a pipe?"
    assert len(project.run_ids()) == 2
