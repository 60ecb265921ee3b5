"""A recorded run, replayed without provider and keys, on the real engine. Runs on: host."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.contract.outcome import ExitCode
from runner.contract.status import AgentErrorType
from runner.gateway.cassette import Cassette, read_cassette
from tests.support.ends import assert_ended, assert_refused
from tests.support.engine_view import EngineView
from tests.support.massgen import Completed, Project
from tests.support.planted_keys import planted_keys, search
from tests.support.provider import (
    CloseAfter,
    Hold,
    NewAnswer,
    Provider,
    Rule,
    Script,
    Silence,
    Status,
    StreamError,
    Text,
    Vote,
    forever,
)

pytestmark = pytest.mark.docker

AGENTS = ("agent_a", "agent_b", "agent_c")
OWN = frozenset({"event_id", "timestamp"})


def paced(text: str, seconds: float) -> NewAnswer:
    return NewAnswer(text, tokens_per_chunk=2, delay_seconds_per_chunk=seconds)


RESTARTS = Script(
    rules=(
        Rule(
            (paced("Paris, as far as I know.", 0.01), paced("Paris, on the Seine.", 0.02)),
            model="model-agent_b",
            step="answer",
            last_repeats=False,
        ),
        Rule(
            (paced("Lyon, I would say, or so.", 0.05), paced("Paris after all.", 0.02)),
            model="model-agent_a",
            last_repeats=False,
        ),
        Rule(
            (CloseAfter(2), paced("Marseille by the sea.", 0.01)),
            model="model-agent_c",
            last_repeats=False,
        ),
        Rule((Vote("agent2", "It names the river."),), step="vote"),
        Rule((Text("Paris is the capital of France.", 1, 0.01),), step="text"),
    )
)
AT_ONCE = Script(
    rules=(
        Rule((Vote("agent1"),), model="model-agent_a", step="vote"),
        Rule((Vote("agent2"),), model="model-agent_b", step="vote"),
    )
)
ONE_FAILS = Script(rules=(Rule((Status(400),), model="model-agent_c"),))
STREAM_ERRORS = Script(rules=(Rule((StreamError(after_chunks=2),), model="model-agent_c"),))


def cassette_of(done: Completed) -> Path:
    [path] = [
        Path(line.removeprefix("Recorded: ").rpartition(" (")[0])
        for line in done.stderr.splitlines()
        if line.startswith("Recorded: ")
    ]
    return path


def replay(project: Project, *arguments: str, **options: Any) -> Completed:
    return project.massgen(
        "replay", "--automation", *arguments, program="massgen-runner", **options
    )


def events(done: Completed) -> list[Mapping[str, Any]]:
    """Return what happened, without ids and times."""
    return [
        {key: value for key, value in event.items() if key not in OWN}
        for event in json.loads(done.log.events.read_bytes())
    ]


def answered(cassette: Cassette) -> list[Any]:
    """Return the calls that were answered, without times, in the order in which they ended."""
    calls = sorted(cassette.calls, key=lambda c: c.timing.end_order)
    return [(c.call.agent, c.request, c.end, c.chunks) for c in calls if c.end.kind != "cancelled"]


def assert_same_run(again: Completed, recorded: Completed) -> None:
    assert again.exit_code == recorded.exit_code, again
    assert "Replay:" not in again.stderr
    assert events(again) == events(recorded)
    assert again.said.get("WINNER") == recorded.said.get("WINNER")
    if winner := recorded.said.get("WINNER"):
        answers = [d.log.final_answer(winner).read_text() for d in (again, recorded)]
        assert answers[0] == answers[1]
    assert again.status.results == recorded.status.results


@pytest.mark.parametrize(
    ("script", "mode"),
    [
        pytest.param(RESTARTS, "tools", id="restarts"),
        pytest.param(RESTARTS, "json_schema", id="restarts by schema"),
        pytest.param(AT_ONCE, "tools", id="all at once"),
        pytest.param(ONE_FAILS, "tools", id="one refused"),
        pytest.param(STREAM_ERRORS, "tools", id="errors in streams"),
    ],
)
def test_runs_the_same_again(
    project: Project, engine_view: EngineView, script: Script, mode: str
) -> None:
    """Winner, events and answer come again without provider and key; and again from the replay."""
    keys = planted_keys("TEAM_KEY")
    backend = {"decision_mode": mode, "api_key": "${TEAM_KEY}"}
    with Provider(script, expect_key=keys["TEAM_KEY"]) as provider:
        project.write_config(provider.url, agents=AGENTS, backend=backend)
        recorded = project.answer("What is the capital of France?", "--record", env=keys)
    assert_ended(recorded, ExitCode.SUCCESS, engine_view, project)
    cassette = cassette_of(recorded)
    assert search(keys, [(str(cassette), cassette.read_bytes())]) == []
    (project.directory / "config.yaml").unlink()

    again = replay(project, "--strict", "--record")
    assert_ended(again, ExitCode.SUCCESS, engine_view, project)
    assert_same_run(again, recorded)
    assert again.status.usage.cost_usd in {None, 0}

    once_more = replay(project, "--strict", str(cassette_of(again)))
    assert_same_run(once_more, recorded)
    copies = [answered(read_cassette(cassette_of(d), "c")) for d in (recorded, again)]
    assert [call for call in copies[0] if call in copies[1]] == copies[1]


def test_strict_ends_where_a_request_differs(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """Another question is named with its place; it ends a strict replay with 2, else it goes on."""
    project.write_config(provider.url)
    recorded = project.answer("What is the capital of France?", "--record")
    cassette = str(cassette_of(recorded))

    other = replay(project, "--strict", "--question", "What is the capital of Spain?", cassette)
    status = assert_ended(other, ExitCode.EXECUTION, engine_view, project)
    assert status.meta.outcome is not None
    assert "messages[1].content at character 33" in status.meta.outcome.reason
    assert "Spain" in status.meta.outcome.reason

    lenient = replay(project, "--question", "What is the capital of Spain?", cassette)
    assert_ended(lenient, ExitCode.SUCCESS, engine_view, project)
    assert "Replay: request 1 of agent_a is not call 1 of agent_a: messages[1]" in lenient.stderr
    assert events(lenient) == events(recorded)


def test_a_budget_is_no_matter_in_a_replay(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """What a budget added to requests is no difference, and a replay spends nothing of it."""
    project.write_config(provider.url, agents=AGENTS, runner={"budget": {"tokens": 500_000}})
    recorded = project.answer("Why?", "--record")
    [limits] = {
        "max_tokens" in call.request for call in read_cassette(cassette_of(recorded), "c").calls
    }
    assert limits
    again = replay(project, "--strict")
    assert_ended(again, ExitCode.SUCCESS, engine_view, project)
    assert_same_run(again, recorded)
    assert again.status.usage.output_tokens == 0


def test_the_cache_pays_for_a_run_once(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """A run of one agent that is started again is answered from the disk, and marked."""
    project.write_config(provider.url, agents=("agent_a",))
    first = project.answer("Why?", "--cache")
    second = project.answer("Why?", "--cache")
    assert_ended(second, ExitCode.SUCCESS, engine_view, project)
    assert len(provider.requests) == 1
    assert second.said["ANSWER_PREVIEW"] == first.said["ANSWER_PREVIEW"]
    assert "Cache: 1 model call answered from the disk" in second.stderr
    assert first.status.usage.output_tokens > 0
    assert second.status.usage.output_tokens == 0
    run = project.directory / ".massgen" / "runs" / second.status.meta.run_id
    assert b'"cached_response":true' in (run / "usage.jsonl").read_bytes()


def test_runs_that_failed_fail_again(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """What every agent was refused is refused again, with the provider's words."""
    provider.play(Script(rules=(Rule((forever(400),)),)))
    project.write_config(provider.url, agents=AGENTS)
    recorded = project.answer("Why?", "--record")
    again = replay(project, "--strict")
    assert_ended(again, ExitCode.EXECUTION, engine_view, project)
    assert_same_run(again, recorded)


def test_an_agents_time_is_over_at_the_same_point(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """An agent that was given up in the recording is waited for, and given up, in the replay."""
    provider.play(Script(rules=(Rule((Silence(2),), model="model-agent_b"),)))
    project.write_config(
        provider.url,
        timeout_settings={"agent_timeout_seconds": 2},
        runner={"stall_timeout_seconds": 30},
    )
    recorded = project.answer("Why?", "--record")
    again = replay(project, "--strict")
    assert_ended(again, ExitCode.SUCCESS, engine_view, project)
    assert_same_run(again, recorded)
    assert AgentErrorType.TIMEOUT in {a.error.type for a in again.status.agents.values() if a.error}


def test_replays_as_fast_as_it_was_recorded(
    project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """With --speed 1 a replay takes its time, and comes to the same end."""
    provider.play(Script.always(paced("A slow answer, word by word, for everybody.", 0.1)))
    project.write_config(provider.url, agents=("agent_a",))
    recorded = project.answer("Why?", "--record")
    slow = replay(project, "--strict", "--speed", "1")
    assert_ended(slow, ExitCode.SUCCESS, engine_view, project)
    assert_same_run(slow, recorded)
    [call] = read_cassette(cassette_of(recorded), "c").calls
    assert slow.status.meta.elapsed_seconds >= call.timing.ended - call.timing.started


def test_a_recording_that_was_killed_is_kept_up_to_there(
    project: Project, provider: Provider
) -> None:
    """After kill -9 the calls that had ended are there, and a torn line is said."""
    provider.play(
        Script(
            rules=(
                Rule((Silence(2),), model="model-agent_b"),
                Rule((Hold("later", NewAnswer("Late.")),), step="vote"),
            )
        )
    )
    project.write_config(provider.url, runner={"stall_timeout_seconds": 60})
    with project.ask("Why?", "--record") as running:
        [directory] = running.wait_until(
            lambda: list(project.directory.glob(".massgen/runs/*/cassette.jsonl"))
        )
        running.wait_until(lambda: b'{"timing"' in directory.read_bytes())
        running.send(signal.SIGKILL)
        running.process.wait()
    project.massgen("clean", program="massgen-runner")
    torn = project.directory / "torn.jsonl"
    torn.write_bytes(directory.read_bytes() + b'{"call":{"age')
    assert len(read_cassette(torn, "torn").calls) >= 1
    done = replay(project, "--set", "timeout_settings.orchestrator_timeout_seconds=1", "torn.jsonl")
    assert done.exit_code in {ExitCode.TIMEOUT, ExitCode.EXECUTION}
    assert "Replay: " in done.stderr or done.exit_code == ExitCode.TIMEOUT


def _giant(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "cannot be opened"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"agents: []\n"), ":1: is no JSON"),
        (_giant, "is this a cassette?"),
        (
            lambda path: path.write_bytes(
                b'{"cassette":{"recorded_by":"x","question":"q","config":{"agents":[]}}}\n'
            ),
            "has 0 agents",
        ),
    ],
)
def test_what_is_no_cassette_starts_nothing(
    project: Project, make: Callable[[Path], object], said: str
) -> None:
    """A FIFO, a link, a giant or something else is a configuration error, at once."""
    make(project.directory / "odd.jsonl")
    assert_refused(replay(project, "odd.jsonl"), project, "odd.jsonl", said)


def test_says_which_run_was_not_recorded(project: Project, provider: Provider) -> None:
    """A run without a cassette is a configuration error that says how to record one."""
    project.write_config(provider.url, agents=("agent_a",))
    project.answer("Why?")
    [run_id] = project.run_ids()
    for arguments in ((run_id,), ()):
        done = replay(project, *arguments)
        assert done.exit_code == ExitCode.CONFIGURATION
        assert "--record" in done.stderr


def test_a_cassette_cannot_be_kept_without_a_log(project: Project, provider: Provider) -> None:
    """Recording into a directory that is to be removed is refused before anything starts."""
    project.write_config(provider.url, agents=("agent_a",), runner={"record": True})
    done = project.massgen("--no-logs", "--config", "config.yaml", "Why?")
    assert_refused(done, project, "--no-logs: together with --record")
