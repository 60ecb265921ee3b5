"""The model of status.json and its published schema."""

import json
from pathlib import Path

import jsonschema

from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.run_id import is_agent_id, is_run_id
from runner.contract.spec import AgentSpec, RunSpec
from runner.contract.status import AgentStatus, Status, status_schema
from runner.host.closing import closed_status, initial_status

SPEC = RunSpec(
    run_id="20260101-000000-0123abcd",
    root_run_id="20260101-000000-0123abcd",
    session_id="log_20260101_000000_000000",
    log_dir="/w/.massgen/massgen_logs/log_20260101_000000_000000",
    question="Why?\nReally.",
    start_time=1000.0,
    deadline=2800.0,
    agents=(AgentSpec(id="agent_a", model="m"), AgentSpec(id="agent_b", model="m")),
)


def test_every_field_of_the_guide_is_there_from_the_start() -> None:
    """A reader finds each documented key before anything has happened, null where unknown."""
    status = json.loads(initial_status(SPEC, 1000.5).model_dump_json())

    assert {"meta", "coordination", "agents", "results", "usage", "nested"} == set(status)
    assert {"last_updated", "session_id", "log_dir", "question", "start_time"} < set(status["meta"])
    assert "elapsed_seconds" in status["meta"]
    assert status["coordination"] == {
        "phase": "initial_answer",
        "active_agent": None,
        "completion_percentage": 0,
        "is_final_presentation": False,
    }
    assert status["agents"]["agent_a"] == {
        "status": "waiting",
        "answer_count": 0,
        "latest_answer_label": None,
        "vote_cast": None,
        "times_restarted": 0,
        "last_activity": None,
        "error": None,
        "tool": None,
    }
    assert status["results"] == {"votes": {}, "winner": None, "final_answer_preview": None}


def test_the_schema_describes_what_is_written() -> None:
    """A status fits the published schema, and one with a missing field does not."""
    schema = status_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    status = json.loads(initial_status(SPEC, 1000.5).model_dump_json())
    jsonschema.validate(status, schema)
    del status["coordination"]["phase"]

    assert not jsonschema.Draft202012Validator(schema).is_valid(status)


def test_a_newer_writers_fields_are_ignored() -> None:
    """An older host reads a newer container's status."""
    data = json.loads(initial_status(SPEC, 1000.5).model_dump_json())
    data["meta"]["mood"] = "good"
    data["agents"]["agent_a"]["mood"] = "good"

    assert Status.model_validate(data).meta.last_updated == 1000.5


def test_a_closed_status_has_nobody_at_work() -> None:
    """After a death no agent seems to stream, the clock stands, and no winner is claimed."""
    outcome = RunOutcome.of(ExitCode.EXECUTION, "the run container was killed")
    status = initial_status(SPEC, 1000.5)
    working = status.agents["agent_a"].model_copy(update={"status": AgentStatus.STREAMING})
    status = status.model_copy(update={"agents": status.agents | {"agent_a": working}})

    closed = closed_status(status, outcome, None, 1010.0)

    assert outcome == closed.meta.outcome
    assert (closed.meta.is_complete, closed.meta.elapsed_seconds) == (False, 10.0)
    assert {AgentStatus.ERROR} == {agent.status for agent in closed.agents.values()}
    assert closed.agents["agent_a"].error is not None
    assert outcome.reason == closed.agents["agent_a"].error.message
    assert closed.results.winner is None


def test_a_run_that_ran_out_of_time_says_so_of_its_agents() -> None:
    """Agents that were at work at the deadline have timed out."""
    outcome = RunOutcome.of(ExitCode.TIMEOUT, "time is over")

    closed = closed_status(initial_status(SPEC, 1000.5), outcome, None, 1010.0)

    assert {AgentStatus.TIMEOUT} == {agent.status for agent in closed.agents.values()}


def test_ids_have_one_shape() -> None:
    """Ids name files: nothing else passes."""
    assert is_run_id(SPEC.run_id)
    assert not is_run_id("../x")
    assert not is_run_id(SPEC.run_id + "\n")
    assert is_agent_id("agent_a")
    assert not any(map(is_agent_id, ("", "1a", "a b", "a/b", "a" * 65, "a\n", Path("..").name)))
