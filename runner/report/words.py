"""The state of a run and of its agents in a few words. Runs on: host."""

from runner.contract.status import AgentState, AgentStatus, Status
from runner.contract.text import one_line
from runner.contract.usage import RunUsage

_ERROR_CHARS = 120
_TOOL_CHARS = 64
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
    """Return the cost and what is left, where prices are known, and tokens."""
    usage = status.usage
    words = f"{usage.input_tokens} tokens in, {usage.output_tokens} out"
    money = money_words(usage)
    return f"{money}  {words}" if money else words


def money_words(usage: RunUsage) -> str:
    """Return what a run has cost, and what its budget leaves; empty where no price is known."""
    if usage.cost_usd is None and usage.budget_usd is None:
        return ""
    cost_usd = usage.cost_usd or 0.0
    if usage.budget_usd is None:
        return f"{cost_usd:.4f} USD"
    left = max(0.0, usage.budget_usd - cost_usd)
    aside = f" ({usage.reserved_usd:.4f} set aside)" if usage.reserved_usd else ""
    return f"{cost_usd:.4f} of {usage.budget_usd:.4f} USD, {left:.4f} left{aside}"


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


def tool_words(agent: AgentState, now: float) -> str:
    """Return the tool that an agent is using and for how long; empty where it uses none."""
    if agent.tool is None:
        return ""
    return f"{one_line(agent.tool.name, _TOOL_CHARS)} ({max(0.0, now - agent.tool.since):.0f}s)"
