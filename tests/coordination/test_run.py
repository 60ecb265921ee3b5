"""Whole runs of the container's process against a scripted provider. Runs on: host."""

import json

import pytest

from runner.contract.status import AgentStatus, Phase
from tests.coordination.conftest import Run
from tests.coordination.processes import agents
from tests.support.provider import Provider


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@pytest.mark.parametrize("decision_mode", ["tools", "json_schema"])
def test_two_agents_answer_vote_and_present(
    models: Provider, run: Run, dialect: str, decision_mode: str
) -> None:
    """Two agents come to a winner, whose presentation is the final answer on disk."""
    ended = run(agents("a", "b", dialect=dialect, decision_mode=decision_mode))

    assert ended.exit_code == 0, ended.stderr
    status = ended.status
    assert status.results.winner in {"a", "b"}
    answer = ended.layout.final_answer(status.results.winner).read_text()
    assert answer.startswith("The final answer of model-")
    assert status.results.final_answer_preview == answer
    assert status.coordination.completion_percentage == 100
    assert status.coordination.phase is Phase.PRESENTATION
    assert {agent.status for agent in status.agents.values()} == {AgentStatus.COMPLETED}
    assert sum(status.results.votes.values()) == 2
    assert ended.event_types[-1] == "final_answer"
    votes = json.loads(ended.layout.votes.read_text())
    assert votes["winner"] == status.results.winner
    assert votes["consensus_reached"] is True
