"""The state of a run and of its agents in a few words. Runs on: host."""

from runner.contract.status import AgentState, AgentStatus, Status
from runner.contract.text import one_line

_ERROR_CHARS = 120
_WITH_LABEL = frozenset({AgentStatus.ANSWERED, AgentStatus.COMPLETED})


def totals(status: Status, elapsed_seconds: float) -> str:
    """Return phase, completion, time, tokens and cost in one line."""
    coordination = status.coordination
    return "  ".join(
        (
            phase_words(coordination.phase.value),
            f"{coordination.completion_percentage}%",
            f"{elapsed_seconds:.1f}s",
            usage_words(status),
        )
    )


def phase_words(phase: str) -> str:
    """Return a phase's name for people."""
    return phase.replace("_", " ")


def usage_words(status: Status) -> str:
    """Return tokens, and the cost where prices are known."""
    usage = status.usage
    words = f"{usage.input_tokens} tokens in, {usage.output_tokens} out"
    return words if usage.cost_usd is None else f"{words}  {usage.cost_usd:.4f} USD"


def agent_words(agent: AgentState) -> str:
    """Return an agent's state in a few words, for a line of its own."""
    if agent.error is not None:
        return f"{agent.status.value}: {error_words(agent)}"
    if agent.status is AgentStatus.VOTED:
        return f"{agent.status.value} for {vote_words(agent)}"
    if agent.status in _WITH_LABEL and agent.latest_answer_label:
        return f"{agent.status.value} {one_line(agent.latest_answer_label)}"
    return agent.status.value


def error_words(agent: AgentState) -> str:
    """Return kind and message of an agent's error; empty where it has none."""
    if agent.error is None:
        return ""
    return f"{agent.error.type.value}: {one_line(agent.error.message, _ERROR_CHARS)}"


def vote_words(agent: AgentState) -> str:
    """Return the label that an agent voted for, or a dash."""
    return one_line(agent.vote_cast.voted_for_label) if agent.vote_cast else "-"
