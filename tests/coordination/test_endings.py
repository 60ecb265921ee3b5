"""How a run ends before its time: time-outs, signals, a gone host, a full disk. Runs on: host."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.contract.status import AgentErrorType, AgentStatus, Phase, Status
from tests.coordination.conftest import Run
from tests.coordination.processes import Ended, Running, agents, spec_in
from tests.support.provider import (
    CloseAfter,
    Hold,
    NewAnswer,
    Provider,
    Rule,
    Script,
    Silence,
    Text,
    Vote,
)

Start = Callable[..., Running]
PARIS = Rule((NewAnswer("It is Paris."),), step="answer")


def is_streaming(status: Status) -> bool:
    return status.coordination.active_agent is not None


def test_an_agent_that_hangs_times_out_and_the_others_finish(models: Provider, run: Run) -> None:
    """agent_timeout_seconds ends a turn with the status timeout; the run goes on."""
    models.play(Script(rules=(Rule((Silence(after_chunks=1),), model="model-b"),)))

    ended = run(agents("a", "b", "c"), agent_timeout_seconds=1.0)

    assert ended.exit_code == 0, ended.stderr
    late = ended.status.agents["b"]
    assert late.status is AgentStatus.TIMEOUT
    assert late.error is not None
    assert late.error.type is AgentErrorType.TIMEOUT
    assert "timeout" in ended.event_types


def test_a_presentation_that_hangs_leaves_the_last_answer(models: Provider, run: Run) -> None:
    """agent_timeout_seconds holds for the presentation too; its answer is then the last one."""
    models.play(Script(rules=(PARIS, Rule((Silence(),), step="text"))))

    ended = run(agents("a", "b"), agent_timeout_seconds=1.0)

    assert ended.exit_code == 0, ended.stderr
    assert ended.layout.final_answer(ended.status.results.winner or "").read_text() == (
        "It is Paris."
    )


def test_the_orchestrator_timeout_keeps_the_best_answer_so_far(models: Provider, run: Run) -> None:
    """Exit 3: no winner, no final directory, but the answer's preview and snapshot are there."""
    models.play(Script(rules=(PARIS, Rule((Silence(),), step="vote"))))

    ended = run(agents("a", "b"), orchestrator_timeout_seconds=3.0)

    assert ended.exit_code == 3
    status = ended.status
    assert status.meta.outcome is not None
    assert "the best answer so far is agent" in status.meta.outcome.reason
    assert not status.meta.is_complete
    assert status.results.winner is None
    assert status.results.final_answer_preview == "It is Paris."
    assert {agent.status for agent in status.agents.values()} == {AgentStatus.TIMEOUT}
    assert not (ended.layout.root / "final").exists()
    mappings = json.loads(ended.layout.snapshot_mappings.read_text())
    best = next(entry for label, entry in mappings.items() if label.endswith(".1"))
    assert (ended.layout.root / best["path"]).read_text() == "It is Paris."


def test_a_deadline_that_has_passed_ends_the_run_before_any_model_is_asked(
    models: Provider, run: Run
) -> None:
    """The host's clock counts: what was used up before the container is not given again."""
    ended = run(agents("a", "b"), deadline=1.0)

    assert ended.exit_code == 3
    assert models.requests == ()
    assert {agent.status for agent in ended.status.agents.values()} == {AgentStatus.TIMEOUT}


def test_a_timeout_without_any_answer_says_so(models: Provider, run: Run) -> None:
    """Exit 3 with nothing to show."""
    models.always(Silence())

    ended = run(agents("a", "b"), orchestrator_timeout_seconds=2.0)

    assert ended.exit_code == 3
    assert ended.stderr.strip().endswith("no answer")


def require_interrupted(ended: Ended) -> None:
    assert ended.exit_code == 4, ended.stderr
    assert ended.stderr.strip() == "the run was interrupted"
    status = ended.status
    assert status.meta.outcome is not None
    assert status.meta.outcome.name == "interrupted"
    assert status.coordination.active_agent is None
    assert status.results.winner is None
    at_work = {AgentStatus.STREAMING, AgentStatus.RESTARTING}
    assert not at_work & {agent.status for agent in status.agents.values()}
    json.loads(ended.layout.events.read_text())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_initial_answers_ends_the_run(
    models: Provider, start: Start, number: signal.Signals
) -> None:
    """Exit 4 with a closed status while models hang."""
    models.always(Silence(after_chunks=1))
    run = start(agents("a", "b"))
    models.log.wait_for_requests(2)

    run.interrupt(number)

    require_interrupted(run.end())


def test_a_signal_during_the_vote_ends_the_run(models: Provider, start: Start) -> None:
    """Exit 4 after an answer exists; its preview is kept, no winner is named."""
    models.play(Script(rules=(PARIS, Rule((Silence(),), step="vote"))))
    run = start(agents("a", "b"))
    run.wait_until(lambda status: bool(status.results.votes))

    run.interrupt()

    ended = run.end()
    require_interrupted(ended)
    assert ended.status.results.final_answer_preview == "It is Paris."


def test_a_signal_during_the_presentation_ends_the_run(models: Provider, start: Start) -> None:
    """Exit 4 as long as the final answer is not on disk."""
    models.play(Script(rules=(PARIS, Rule((Silence(after_chunks=1),), step="text"))))
    run = start(agents("a", "b"))
    run.wait_until(lambda status: status.coordination.phase is Phase.PRESENTATION)

    run.interrupt()

    require_interrupted(run.end())


def test_a_signal_before_anything_is_loaded_ends_the_run(models: Provider, start: Start) -> None:
    """However early the signal comes, the process ends; at the latest with code 4."""
    models.always(Silence())
    run = start(agents("a", "b"))

    run.interrupt()

    # Before the interpreter has come to our first line, the signal's own default applies.
    assert run.end().exit_code in {4, -signal.SIGTERM}


def test_a_supervisor_that_is_gone_ends_the_run(tmp_path: Path, run: Run) -> None:
    """Nobody on the run socket for some seconds: exit 2 with that reason."""
    ended = run(agents("a", "b"))

    assert ended.exit_code == 2
    assert ended.status.meta.outcome is not None
    assert ended.status.meta.outcome.reason.startswith("the supervisor is gone")


def test_a_supervisor_that_dies_during_a_reply_ends_the_run(socket: Path, start: Start) -> None:
    """A reply that breaks off and a socket that nobody answers afterwards: exit 2."""
    with Provider(unix_path=socket) as models:
        models.always(Silence(after_chunks=1))
        run = start(agents("a", "b"))
        models.log.wait_for_requests(2)

    ended = run.end()

    assert ended.exit_code == 2
    assert "the supervisor is gone" in ended.stderr


def test_status_follows_an_agent_that_speaks(models: Provider, start: Start) -> None:
    """While a model speaks, its output file grows and last_activity moves."""
    slow = Text("word " * 4000, tokens_per_chunk=4, delay_seconds_per_chunk=0.005)
    models.play(Script(rules=(Rule((slow,), model="model-a"),)))
    run = start(agents("a"))
    first = run.wait_until(is_streaming)
    output = run.layout.agent_output("a")
    early = run.wait_until(lambda _: output.exists() and b"word word" in output.read_bytes())
    size = output.stat().st_size

    later = run.wait_until(
        lambda status: (
            (status.agents["a"].last_activity or 0)
            > max(early.agents["a"].last_activity or 0, first.agents["a"].last_activity or 0)
            and output.stat().st_size > size
        )
    )

    assert later.coordination.active_agent == "a"


def test_agents_work_side_by_side(models: Provider, start: Start) -> None:
    """All agents are asked before any has answered."""
    models.play(Script(rules=(Rule((Hold("go", NewAnswer("It is Paris.")),), step="answer"),)))
    run = start(agents("a", "b", "c"))
    models.log.wait_for_requests(3)

    models.release("go")

    assert run.end().exit_code == 0


def test_a_new_answer_restarts_an_agent_at_work(models: Provider, start: Start) -> None:
    """The restarted agent's call is cut off, and its next one shows it the new answer."""
    models.play(
        Script(
            rules=(
                Rule((Silence(after_chunks=1),), model="model-b", step="answer"),
                Rule((Hold("go", NewAnswer("It is Paris.")),), model="model-a", step="answer"),
            )
        )
    )
    run = start(agents("a", "b"))
    models.log.wait_for_requests(2)
    models.release("go")

    ended = run.end()

    assert ended.exit_code == 0, ended.stderr
    assert ended.status.agents["b"].times_restarted == 1
    assert "restart_completed" in ended.event_types
    asked = [request.body.decode() for request in models.requests if request.model == "model-b"]
    assert "It is Paris." not in asked[0]
    assert "It is Paris." in asked[1]


def test_a_single_agent_answers_with_one_call(models: Provider, run: Run) -> None:
    """One agent: no vote, no second call, its answer is the final one."""
    models.always(Text("It is Paris."))

    ended = run(agents("a"))

    assert ended.exit_code == 0, ended.stderr
    assert len(models.requests) == 1
    assert ended.layout.final_answer("a").read_text() == "It is Paris."
    assert ended.status.coordination.completion_percentage == 100
    assert ended.status.results.winner == "a"


def test_without_rounds_the_first_agent_that_can_gives_the_final_answer(
    models: Provider, run: Run
) -> None:
    """skip_coordination_rounds: no answers, no votes; a failing agent hands over to the next."""
    models.play(Script(rules=(Rule((CloseAfter(0),), model="model-a"), Rule((Text("Paris."),)))))

    ended = run(agents("a", "b", "c"), skip_coordination_rounds=True)

    assert ended.exit_code == 0, ended.stderr
    assert ended.status.results.winner == "b"
    assert ended.layout.final_answer("b").read_text() == "Paris."
    assert ended.status.agents["a"].status is AgentStatus.ERROR
    assert "vote" not in ended.event_types
    assert "model-c" not in {request.model for request in models.requests}


def test_the_vote_decides(models: Provider, run: Run) -> None:
    """The answer with most votes wins, with each vote's reason in vote.json."""
    models.play(
        Script(
            rules=(
                Rule((Vote("agent2", "Paris is right."),), step="vote", contains="Paris."),
                Rule((NewAnswer("Lyon."),), model="model-a", step="answer"),
                Rule((NewAnswer("Paris."),), model="model-b", step="vote"),
                Rule((Silence(),), step="answer"),
                Rule((Silence(),), step="vote"),
            )
        )
    )

    ended = run(agents("a", "b", "c"))

    assert ended.exit_code == 0, ended.stderr
    assert ended.status.results.winner == "b"
    assert ended.status.results.votes == {"agent1.1": 0, "agent2.1": 3}
    votes = json.loads(ended.layout.votes.read_text())
    assert votes["votes"]["a"] == {"voted_for": "b", "reason": "Paris is right."}


def disk_of(size: str, directory: Path, spec: Path, socket: Path) -> subprocess.Popen[bytes]:
    """Start a run whose log directory is a disk of its own, of that size."""
    script = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'
    command = [sys.executable, "-m", "runner.coordination"]
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, "sh", size, str(directory), *command],
        env={**os.environ, "RUNNER_SPEC": str(spec), "RUNNER_SOCKET": str(socket)},
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("size", ["4k", "64k", "128k"])
def test_a_full_disk_ends_the_run_with_that_reason(
    models: Provider, tmp_path: Path, socket: Path, size: str
) -> None:
    """Exit 2 and one line on stderr, wherever the room runs out."""
    assert shutil.which("unshare")
    models.always(NewAnswer("a long answer " * 20_000, tokens_per_chunk=1000))
    spec = spec_in(tmp_path, agents("a", "b"))
    Path(spec.log_dir).mkdir()
    spec_path = tmp_path / "spec.json"
    spec_path.write_text(spec.model_dump_json())

    with disk_of(size, Path(spec.log_dir), spec_path, socket) as process:
        _, stderr = process.communicate(timeout=60)

    assert process.returncode == 2
    assert stderr.decode().startswith("disk full: ")
    assert len(stderr.splitlines()) == 1


def test_a_killed_run_leaves_files_that_parse(models: Provider, start: Start) -> None:
    """kill -9 at any instant leaves the last whole version of each file."""
    models.play(Script(rules=(PARIS, Rule((Silence(),), step="vote"))))
    run = start(agents("a", "b"))
    run.wait_until(lambda status: bool(status.results.votes))

    run.interrupt(signal.SIGKILL)

    ended = run.end()
    assert ended.exit_code == -signal.SIGKILL
    assert ended.status.meta.outcome is None
    for path in (ended.layout.events, ended.layout.votes, ended.layout.snapshot_mappings):
        json.loads(path.read_text())


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b"\xff\xfe", b'{"agents": 3}'])
def test_a_spec_that_cannot_be_read_ends_with_one_line(tmp_path: Path, content: bytes) -> None:
    """Exit 2 and no traceback, whatever stands in the file."""
    spec_path = tmp_path / "spec.json"
    spec_path.write_bytes(content)

    ended = subprocess.run(
        [sys.executable, "-m", "runner.coordination"],
        env={**os.environ, "RUNNER_SPEC": str(spec_path)},
        capture_output=True,
        check=False,
    )

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith(b"the run's spec ")
    assert b"image" in ended.stderr
    assert ended.stdout == b""


def test_a_missing_log_directory_ends_with_one_line(tmp_path: Path, socket: Path) -> None:
    """Exit 2; the line names what could not be written."""
    spec_path = tmp_path / "spec.json"
    spec_path.write_text(spec_in(tmp_path, agents("a")).model_dump_json())

    ended = subprocess.run(
        [sys.executable, "-m", "runner.coordination"],
        env={**os.environ, "RUNNER_SPEC": str(spec_path), "RUNNER_SOCKET": str(socket)},
        capture_output=True,
        check=False,
    )

    assert ended.returncode == 2
    assert b"massgen.log could not be written: No such file or directory" in ended.stderr


def test_a_question_of_a_megabyte_is_asked_whole(models: Provider, run: Run) -> None:
    """Length and control characters of a question change nothing."""
    question = "Why?\0\x1b[31m\u202e\n" + "é " * 500_000

    ended = run(agents("a", "b"), question=question)

    assert ended.exit_code == 0, ended.stderr
    assert ended.status.meta.question == question
