"""The status.json of a state. Runs on: the run container."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from runner.contract import status as contract
from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.spec import RunSpec
from runner.contract.text import encodable, one_line
from runner.contract.usage import RunUsage
from runner.coordination.state import (
    Agent,
    RunState,
    Vote,
    best_answer,
    completion_percentage,
    vote_counts,
)


class Moment(NamedTuple):
    """What a status says besides the state itself."""

    now: float
    activity: Mapping[str, float]
    """Agent id → when it was last heard speaking."""
    usage: RunUsage
    outcome: RunOutcome | None = None
    tools: Mapping[str, contract.ToolInUse] = MappingProxyType({})
    """Agent id → the tool that it is using."""


def status_of(spec: RunSpec, state: RunState, moment: Moment) -> contract.Status:
    """Return the whole of status.json for a state at a moment."""
    return contract.Status(
        meta=_meta(spec, moment),
        coordination=contract.Coordination(
            phase=state.phase,
            active_agent=_active_agent(state, moment),
            completion_percentage=completion_percentage(state),
            is_final_presentation=state.phase is contract.Phase.PRESENTATION,
        ),
        agents={agent.id: _agent(agent, state, moment) for agent in state.agents.values()},
        results=contract.Results(
            votes=vote_counts(state),
            winner=state.winner,
            final_answer_preview=_preview(state),
        ),
        usage=moment.usage,
    )


def _meta(spec: RunSpec, moment: Moment) -> contract.Meta:
    outcome = moment.outcome
    return contract.Meta(
        last_updated=moment.now,
        session_id=spec.session_id,
        log_dir=spec.log_dir,
        question=encodable(spec.question),
        start_time=spec.start_time,
        elapsed_seconds=max(0.0, moment.now - spec.start_time),
        run_id=spec.run_id,
        parent_run_id=spec.parent_run_id,
        root_run_id=spec.root_run_id,
        depth=spec.depth,
        image=spec.image,
        outcome=outcome,
        is_complete=outcome is not None and outcome.exit_code is ExitCode.SUCCESS,
        finish_reason=outcome.name if outcome else None,
        finish_reason_details=outcome.reason if outcome else None,
    )


def _active_agent(state: RunState, moment: Moment) -> str | None:
    """Return the agent at work that was heard last."""
    at_work = [
        agent for agent in state.agents.values() if agent.status is contract.AgentStatus.STREAMING
    ]
    heard = max(at_work, key=lambda agent: _last_activity(agent, moment) or 0.0, default=None)
    return heard.id if heard and not state.ending else None


def _last_activity(agent: Agent, moment: Moment) -> float | None:
    times = [t for t in (agent.last_activity, moment.activity.get(agent.id)) if t is not None]
    return max(times, default=None)


def _agent(agent: Agent, state: RunState, moment: Moment) -> contract.AgentState:
    failure = agent.failure
    return contract.AgentState(
        status=agent.status,
        answer_count=len(agent.answers),
        latest_answer_label=_latest_label(agent, state),
        vote_cast=_vote(agent.vote) if agent.vote else None,
        times_restarted=agent.times_restarted,
        last_activity=_last_activity(agent, moment),
        error=contract.AgentError(
            type=failure.type, message=failure.message, timestamp=failure.timestamp
        )
        if failure
        else None,
        tool=moment.tools.get(agent.id),
    )


def _latest_label(agent: Agent, state: RunState) -> str | None:
    if state.winner == agent.id:
        return agent.final_label
    return agent.answers[-1].label if agent.answers else None


def _vote(vote: Vote) -> contract.VoteCast:
    return contract.VoteCast(
        voted_for_agent=vote.target,
        voted_for_label=vote.label,
        reason_preview=one_line(vote.reason, contract.REASON_PREVIEW_CHARS),
    )


def _preview(state: RunState) -> str | None:
    """Return the start of the final answer, or of the best one of a run that was cut short."""
    if state.ending is None:
        return None
    best = best_answer(state)
    content = state.final_answer or (best.content if best else None)
    return one_line(content, contract.ANSWER_PREVIEW_CHARS) if content is not None else None
