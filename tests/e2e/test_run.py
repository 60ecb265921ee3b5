"""A run that goes well: what a user and a script get. Runs on: host."""

import json

import pytest
import yaml

from runner.contract.outcome import ExitCode
from runner.contract.status import AgentStatus, Phase
from tests.support.ends import assert_ended, assert_log_valid
from tests.support.engine_view import EngineView
from tests.support.massgen import Project
from tests.support.provider import FIRST, NewAnswer, Provider, Rule, Script, Silence, Text, Vote

pytestmark = pytest.mark.docker

TALK = Script(
    rules=(
        Rule((NewAnswer("Paris, I think."),), model="model-agent_a", step="answer"),
        # Later than the other one, so that it is restarted by that.
        Rule((Silence(),), model="model-agent_b", step="answer"),
        Rule((Vote("agent1", "Paris is the capital."),), step="vote"),
        Rule((Text("Paris is the capital of France."),), step="text"),
    )
)


def test_two_agents(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """Two agents answer, vote and present; stdout, status and files tell the same story."""
    provider.play(TALK)
    project.write_config(provider.url)
    done = project.answer("What is the capital of France?")
    status = assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    assert done.said["QUESTION"] == "What is the capital of France?"
    assert done.said["WINNER"] == "agent_a"
    assert done.said["ANSWER_PREVIEW"] == "Paris is the capital of France."
    assert done.said["COMPLETED"].startswith("2 agents, ")
    assert done.log.final_answer("agent_a").read_text() == "Paris is the capital of France."
    assert status.coordination.phase is Phase.PRESENTATION
    assert {agent.status for agent in status.agents.values()} <= {
        AgentStatus.COMPLETED,
        AgentStatus.VOTED,
    }
    assert status.results.winner == "agent_a"
    assert status.results.votes["agent1.1"] == 2
    assert status.usage.calls == len(provider.requests)


@pytest.mark.parametrize("way", ["json_schema", "messages"])
def test_other_ways_to_decide(
    project: Project, provider: Provider, engine_view: EngineView, way: str
) -> None:
    """The same talk works by JSON schema and over Anthropic's protocol."""
    backend = {"decision_mode": "json_schema"}
    if way == "messages":
        backend = {"type": "claude", "api_key": "${TEAM_KEY}"}
        provider.expect_key("team-key")
    provider.play(Script(rules=(Rule((Vote(FIRST),), step="vote"),)))
    project.write_config(provider.url, backend=backend)
    done = project.answer(env={"TEAM_KEY": "team-key"})
    status = assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    assert status.results.winner in {"agent_a", "agent_b"}
    assert sum(status.results.votes.values()) == 2


def test_log_directory(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """The log has the guide's files, all of them readable."""
    provider.play(TALK)
    project.write_config(provider.url)
    done = project.answer("What is the capital of France?")
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    assert_log_valid(done)
    metadata = yaml.safe_load(done.log.metadata.read_text())
    assert metadata["question"] == metadata["query"] == "What is the capital of France?"
    assert metadata["config"]["agents"][0]["id"] == "agent_a"
    types = {event["event_type"] for event in json.loads(done.log.events.read_text())}
    assert {"started_streaming", "new_answer", "vote", "final_answer"} <= types
    votes = json.loads(done.log.votes.read_text())
    assert votes["winner"] == "agent_a"
    assert votes["votes"]["agent_b"]["reason"] == "Paris is the capital."
    for agent in ("agent_a", "agent_b"):
        assert done.log.agent_output(agent).stat().st_size
    assert "Paris" in done.log.presentation_output("agent_a").read_text()
    assert (done.log.final("agent_a") / "context.txt").is_file()
    assert done.log.table.stat().st_size


def test_single_agent(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """One agent answers once; its answer is the final one without another call."""
    provider.always(Text("Forty-two."))
    project.write_config(provider.url, agents=["solo"])
    done = project.answer()
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    assert done.log.final_answer("solo").read_text() == "Forty-two."
    assert len(provider.requests) == 1


def test_for_a_person(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """Without --automation the answer stands on stdout, and no container is left."""
    provider.play(TALK)
    project.write_config(provider.url)
    done = project.massgen("--config", "config.yaml", "What is the capital of France?")
    assert done.exit_code == ExitCode.SUCCESS, done
    assert "Paris is the capital of France." in done.stdout
    assert "LOG_DIR:" not in done.stdout
    assert engine_view.containers(project.run_ids()[0]) == []


def test_progress_while_a_model_speaks(project: Project, provider: Provider) -> None:
    """While a model speaks its output file grows and the status moves."""
    slow = NewAnswer("A slow answer.", "Let me think. " * 100, 4, delay_seconds_per_chunk=0.02)
    provider.play(Script(rules=(Rule((slow,), step="answer"),)))
    project.write_config(provider.url)
    with project.ask() as running:
        status = running.wait_status(lambda s: s.agents["agent_a"].status is AgentStatus.STREAMING)
        began = status.agents["agent_a"].last_activity or 0.0
        output = running.output.log.agent_output("agent_a")
        running.wait_until(lambda: output.exists() and "Let me think." in output.read_text())
        running.wait_status(lambda s: (s.agents["agent_a"].last_activity or 0.0) > began)
        assert running.finish().exit_code == ExitCode.SUCCESS
