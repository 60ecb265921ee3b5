"""Close the books of a run whose container is dead: status.json and record.json. Runs on: host."""

import time

from pydantic import ValidationError

from runner.contract.files import read_bytes
from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.run_id import is_agent_id
from runner.contract.spec import RunSpec
from runner.contract.status import (
    AgentError,
    AgentErrorType,
    AgentState,
    AgentStatus,
    Meta,
    Status,
)
from runner.contract.usage import RunUsage
from runner.host.run_store import RunDirectory, RunRecord, write_on_full_disk

MAX_STATUS_BYTES = 16 * 1024 * 1024
_AT_WORK = frozenset({AgentStatus.WAITING, AgentStatus.STREAMING, AgentStatus.RESTARTING})


def initial_status(spec: RunSpec, now: float) -> Status:
    """Return the status of a run in which nothing has happened yet."""
    meta = Meta(
        last_updated=now,
        session_id=spec.session_id,
        log_dir=spec.log_dir,
        question=spec.question,
        start_time=spec.start_time,
        elapsed_seconds=max(0.0, now - spec.start_time),
        run_id=spec.run_id,
        parent_run_id=spec.parent_run_id,
        root_run_id=spec.root_run_id,
        depth=spec.depth,
        image=spec.image,
    )
    return Status(meta=meta, agents={agent.id: AgentState() for agent in spec.agents})


def read_status(log: LogLayout) -> Status | None:
    """Return status.json as a model; None where it is missing, hostile or no status."""
    try:
        return Status.model_validate_json(read_bytes(log.root, log.status.name, MAX_STATUS_BYTES))
    except (OSError, ValidationError):
        return None


def final_answer_exists(log: LogLayout, winner: str | None) -> bool:
    """Tell whether the winner's answer is a regular file reached without any link."""
    if winner is None or not is_agent_id(winner):
        return False
    try:
        read_bytes(log.root, str(log.final_answer(winner).relative_to(log.root)), 1 << 30)
    except OSError:
        return False
    return True


def closed_status(
    status: Status, outcome: RunOutcome, usage: RunUsage | None, now: float
) -> Status:
    """Return `status` as its last word: nobody at work, the outcome set, the clock stopped."""
    complete = outcome.exit_code is ExitCode.SUCCESS
    meta = status.meta.model_copy(
        update={
            "outcome": outcome,
            "is_complete": complete,
            "finish_reason": outcome.name,
            "finish_reason_details": outcome.reason,
            "last_updated": now,
            "elapsed_seconds": max(status.meta.elapsed_seconds, now - status.meta.start_time),
        }
    )
    coordination = status.coordination.model_copy(
        update={
            "active_agent": None,
            "completion_percentage": 100
            if complete
            else min(99, status.coordination.completion_percentage),
        }
    )
    results = status.results if complete else status.results.model_copy(update={"winner": None})
    agents = {name: _closed_agent(agent, outcome, now) for name, agent in status.agents.items()}
    return status.model_copy(
        update={
            "meta": meta,
            "coordination": coordination,
            "agents": agents,
            "results": results,
            "usage": usage or status.usage,
        }
    )


def _closed_agent(agent: AgentState, outcome: RunOutcome, now: float) -> AgentState:
    agent = agent.model_copy(update={"tool": None})
    if outcome.exit_code is ExitCode.SUCCESS or agent.status not in _AT_WORK:
        return agent
    timed_out = outcome.exit_code is ExitCode.TIMEOUT
    error_type = AgentErrorType.TIMEOUT if timed_out else AgentErrorType.INTERNAL
    error = agent.error or AgentError(type=error_type, message=outcome.reason, timestamp=now)
    status = AgentStatus.TIMEOUT if timed_out else AgentStatus.ERROR
    return agent.model_copy(update={"status": status, "error": error})


def close_status(
    run: RunDirectory, log: LogLayout, fallback: Status, outcome: RunOutcome, usage: RunUsage | None
) -> Status:
    """Write the closed status.json where the container did not write it itself, and return it."""
    status = read_status(log) or fallback
    if status.meta.run_id != fallback.meta.run_id:
        status = fallback
    if status.meta.outcome == outcome and (usage is None or usage == status.usage):
        return status
    closed = closed_status(status, outcome, usage, time.time())
    write_on_full_disk(run, log.status, closed.model_dump_json(indent=2))
    return closed


def close_record(run: RunDirectory, record: RunRecord, outcome: RunOutcome) -> RunRecord:
    """Write the run's last record and remove what only a living run needs."""
    closed = record.model_copy(
        update={"state": "exited", "outcome": outcome, "ended_at": time.time()}
    )
    run.write_record(closed)
    run.remove_leftovers()
    return closed
