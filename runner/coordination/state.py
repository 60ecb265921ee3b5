"""What has happened in a run and what may happen next; values only. Runs on: the run container.

Each transition takes a state and returns the next one with the events it caused, or raises
`RefusedError` for what the rules forbid (a model is told why) and `IllegalTransitionError` for
what only a bug can ask for.

An answer outlives its author: when an agent fails after answering, others have read its answer
and may have voted for it, so it stays a candidate. Its author's own vote is dropped.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from runner.contract.events import EventType
from runner.contract.log_layout import FINAL_SUFFIX
from runner.contract.spec import CoordinationSpec
from runner.contract.status import ANSWER_PREVIEW_CHARS, AgentErrorType, AgentStatus, Phase
from runner.contract.text import one_line
from runner.coordination.novelty import Novelty, repeats


class RefusedError(Exception):
    """A decision that the rules forbid; the message tells the model why."""


class NotNovelError(RefusedError):
    """An answer that repeats an existing one."""


class IllegalTransitionError(Exception):
    """A transition from a state that does not have it: a bug of the caller."""


class Answer(NamedTuple):
    author: str
    """Agent id."""
    label: str
    content: str
    order: int
    """Position among all answers of the run, from 1."""


class Vote(NamedTuple):
    voter: str
    target: str
    """Id of the agent voted for."""
    label: str
    reason: str


class Failure(NamedTuple):
    type: AgentErrorType
    message: str
    timestamp: float


class Agent(NamedTuple):
    """One agent's part in the run; `number` is its position in the configuration from 1."""

    id: str
    number: int
    status: AgentStatus = AgentStatus.WAITING
    answers: tuple[Answer, ...] = ()
    vote: Vote | None = None
    times_restarted: int = 0
    last_activity: float | None = None
    failure: Failure | None = None

    @property
    def is_living(self) -> bool:
        return self.failure is None

    @property
    def name(self) -> str:
        """What other agents know it by."""
        return f"agent{self.number}"

    @property
    def final_label(self) -> str:
        return f"{self.name}.{FINAL_SUFFIX}"


class Happened(NamedTuple):
    """An event that has not been numbered and dated yet."""

    type: EventType
    agent_id: str | None
    data: dict[str, JsonValue]


class Ending(enum.Enum):
    """How a run that is over ended."""

    COMPLETED = "completed"
    NO_AGENT_LEFT = "no_agent_left"
    TIMED_OUT = "timed_out"
    STOPPED = "stopped"


class RunState(NamedTuple):
    agents: Mapping[str, Agent]
    max_answers: int = 5
    novelty: Novelty = "lenient"
    phase: Phase = Phase.INITIAL_ANSWER
    best_percentage: int = 0
    presenter: str | None = None
    winner: str | None = None
    final_answer: str | None = None
    ending: Ending | None = None

    @property
    def living(self) -> tuple[Agent, ...]:
        return tuple(agent for agent in self.agents.values() if agent.is_living)

    @property
    def current_answers(self) -> tuple[Answer, ...]:
        """The latest answer of each agent that has one, in the order of the configuration."""
        return tuple(agent.answers[-1] for agent in self.agents.values() if agent.answers)

    @property
    def all_answers(self) -> tuple[Answer, ...]:
        return tuple(answer for agent in self.agents.values() for answer in agent.answers)

    @property
    def votes(self) -> tuple[Vote, ...]:
        return tuple(agent.vote for agent in self.agents.values() if agent.vote)


class Transition(NamedTuple):
    state: RunState
    events: Sequence[Happened] = ()


_AT_WORK = frozenset({AgentStatus.STREAMING})
_READY = frozenset({AgentStatus.WAITING, AgentStatus.ANSWERED, AgentStatus.RESTARTING})
MAX_BEFORE_END = 99
"""100 % is said only once the final answer is on disk."""


def new_run(agent_ids: Sequence[str], rules: CoordinationSpec) -> RunState:
    """Return the state in which nothing has happened yet."""
    agents = {name: Agent(name, number) for number, name in enumerate(agent_ids, start=1)}
    return RunState(agents, rules.max_new_answers_per_agent, rules.answer_novelty_requirement)


def ready_agents(state: RunState) -> tuple[str, ...]:
    """Return the agents whose next turn may begin."""
    if state.phase is Phase.PRESENTATION or state.ending:
        return ()
    return tuple(agent.id for agent in state.living if agent.status in _READY)


def has_settled(state: RunState) -> bool:
    """Tell whether every living agent has voted, or none is left; one agent alone need not vote."""
    if len(state.agents) == 1:
        return not state.living or bool(state.all_answers)
    return all(agent.vote for agent in state.living)


def may_answer(state: RunState, agent_id: str) -> bool:
    """Tell whether the agent has answers left to give."""
    return len(state.agents[agent_id].answers) < state.max_answers


def vote_counts(state: RunState) -> dict[str, int]:
    """Return label → votes for all current answers, 0 included."""
    counts = {answer.label: 0 for answer in state.current_answers}
    for vote in state.votes:
        counts[vote.label] += 1
    return counts


def leading_answer(state: RunState) -> Answer | None:
    """Return the answer with the most votes; of equals the one given first."""
    counts = vote_counts(state)
    return max(state.current_answers, key=lambda a: (counts[a.label], -a.order), default=None)


def best_answer(state: RunState) -> Answer | None:
    """Return the best answer of a run cut short: the leading one, without votes the latest."""
    if state.presenter is not None and state.agents[state.presenter].answers:
        return state.agents[state.presenter].answers[-1]
    if state.votes:
        return leading_answer(state)
    return max(state.current_answers, key=lambda answer: answer.order, default=None)


def completion_percentage(state: RunState) -> int:
    """Return how far the run is: 0 to 99, and 100 for one whose final answer is on disk."""
    return 100 if state.ending is Ending.COMPLETED else state.best_percentage


def start_turn(state: RunState, agent_id: str, now: float) -> Transition:
    """Begin a turn of an agent that waits, has answered or was restarted."""
    agent = _living(state, agent_id)
    if agent.status not in _READY or state.phase is Phase.PRESENTATION:
        raise IllegalTransitionError(f"{agent_id} cannot start: {agent.status}")
    events = []
    if agent.status is AgentStatus.RESTARTING:
        restarts: dict[str, JsonValue] = {"times_restarted": agent.times_restarted}
        events.append(Happened(EventType.RESTART_COMPLETED, agent_id, restarts))
    events.append(Happened(EventType.STARTED_STREAMING, agent_id, {"phase": state.phase.value}))
    streaming = agent._replace(status=AgentStatus.STREAMING, last_activity=now)
    return Transition(_put(state, streaming), events)


def check_answer(state: RunState, agent_id: str, content: str) -> None:
    """Raise RefusedError, or NotNovelError, if the agent may not give this answer."""
    if not content.strip():
        raise RefusedError("The answer is empty. Give the whole answer as content.")
    if not may_answer(state, agent_id):
        raise RefusedError("You have given all the answers you may give. Vote for one of them.")
    shared = repeats(content, (answer.content for answer in state.all_answers), state.novelty)
    if shared is not None:
        raise NotNovelError(
            f"This answer shares {shared:.0%} of its words with an existing one, which is too "
            "much to count as new. Vote for the best existing answer, or write one that differs "
            "in substance."
        )


def give_answer(state: RunState, agent_id: str, content: str, now: float) -> Transition:
    """Take a new answer and restart every other agent that is at work or has voted."""
    agent = _at_work(state, agent_id)
    check_answer(state, agent_id, content)
    number = len(agent.answers) + 1
    label, order = f"{agent.name}.{number}", len(state.all_answers) + 1
    answer = Answer(agent_id, label, content, order)
    answered = agent._replace(
        status=AgentStatus.ANSWERED, answers=(*agent.answers, answer), last_activity=now
    )
    data: dict[str, JsonValue] = {"label": label, "preview": _preview(content)}
    events = [Happened(EventType.NEW_ANSWER, agent_id, data)]
    state = _put(state, answered)
    for other in state.living:
        if other.id != agent_id and (other.status in _AT_WORK or other.vote):
            state = _put(state, _restarted(other, now))
            events.append(Happened(EventType.RESTART, other.id, {"because_of": label}))
    return Transition(_measured(state), events)


def _restarted(agent: Agent, now: float) -> Agent:
    return agent._replace(
        status=AgentStatus.RESTARTING,
        vote=None,
        times_restarted=agent.times_restarted + 1,
        last_activity=now,
    )


def check_vote(state: RunState, target: str) -> Answer:
    """Return the answer a vote for agent `target` is for; RefusedError if it has none."""
    agent = state.agents.get(target)
    if agent is None or not agent.answers:
        raise RefusedError("There is no answer of that agent to vote for.")
    return agent.answers[-1]


def cast_vote(state: RunState, agent_id: str, target: str, reason: str, now: float) -> Transition:
    """Take a vote for the current answer of agent `target`, which may be the voter itself."""
    agent = _at_work(state, agent_id)
    answer = check_vote(state, target)
    vote = Vote(agent_id, target, answer.label, reason)
    voted = agent._replace(status=AgentStatus.VOTED, vote=vote, last_activity=now)
    data: dict[str, JsonValue] = {
        "voted_for_agent": target,
        "voted_for_label": answer.label,
        "reason": one_line(reason, ANSWER_PREVIEW_CHARS),
    }
    state = _put(state, voted)._replace(phase=Phase.ENFORCEMENT)
    return Transition(_measured(state), [Happened(EventType.VOTE, agent_id, data)])


def fail_agent(
    state: RunState, agent_id: str, type_: AgentErrorType, message: str, now: float
) -> Transition:
    """Leave an agent out for good: its answers stay, its vote counts only if voting is over."""
    agent = _living(state, agent_id)
    timed_out = type_ is AgentErrorType.TIMEOUT
    failed = agent._replace(
        status=AgentStatus.TIMEOUT if timed_out else AgentStatus.ERROR,
        vote=agent.vote if state.phase is Phase.PRESENTATION else None,
        last_activity=now,
        failure=Failure(type_, one_line(message), now),
    )
    event = EventType.TIMEOUT if timed_out else EventType.ERROR
    data: dict[str, JsonValue] = {"type": type_.value, "message": one_line(message)}
    return Transition(_put(state, failed), [Happened(event, agent_id, data)])


def end_without_agents(state: RunState) -> Transition:
    """Close a run in which no agent is left."""
    if state.living:
        raise IllegalTransitionError("agents are left")
    return Transition(state._replace(ending=Ending.NO_AGENT_LEFT))


def begin_presentation(state: RunState, presenter: str, now: float) -> Transition:
    """Let an agent write the final answer; others stay as they are."""
    if state.ending or (state.phase is Phase.PRESENTATION and state.presenter == presenter):
        raise IllegalTransitionError("the presentation has begun already")
    agent = state.agents[presenter]
    status = AgentStatus.STREAMING if agent.is_living else agent.status
    state = _put(state, agent._replace(status=status, last_activity=now))
    state = state._replace(phase=Phase.PRESENTATION, presenter=presenter)
    data: dict[str, JsonValue] = {"phase": Phase.PRESENTATION.value}
    return Transition(state, [Happened(EventType.STARTED_STREAMING, presenter, data)])


def fall_back(state: RunState, type_: AgentErrorType, message: str) -> Transition:
    """Say that the presentation failed for good, so that the last answer is the final one."""
    if state.presenter is None or not state.agents[state.presenter].answers:
        raise IllegalTransitionError("there is no answer to fall back on")
    data: dict[str, JsonValue] = {
        "phase": Phase.PRESENTATION.value,
        "type": type_.value,
        "message": one_line(message),
        "final_answer_is": state.agents[state.presenter].answers[-1].label,
    }
    return Transition(state, [Happened(EventType.ERROR, state.presenter, data)])


def finish(state: RunState, content: str, now: float) -> Transition:
    """Close a run whose final answer is on disk: the presenter has won."""
    if state.presenter is None or state.ending:
        raise IllegalTransitionError("there is no presentation to finish")
    winner = state.agents[state.presenter]
    agents = {
        agent.id: agent._replace(status=AgentStatus.COMPLETED) if agent.is_living else agent
        for agent in state.agents.values()
    }
    agents[winner.id] = agents[winner.id]._replace(last_activity=now)
    state = state._replace(
        agents=agents, winner=winner.id, final_answer=content, ending=Ending.COMPLETED
    )
    data: dict[str, JsonValue] = {"label": winner.final_label, "preview": _preview(content)}
    return Transition(state, [Happened(EventType.FINAL_ANSWER, winner.id, data)])


def time_out(state: RunState, message: str, now: float) -> Transition:
    """Close a run whose time is over: agents that had not decided have timed out."""
    _require_open(state)
    events = [Happened(EventType.TIMEOUT, None, {"message": message})]
    undecided = [agent.id for agent in state.living if agent.status in _AT_WORK | _READY]
    for agent_id in undecided:
        moved = fail_agent(state, agent_id, AgentErrorType.TIMEOUT, message, now)
        state = moved.state
        events.extend(moved.events)
    return Transition(state._replace(ending=Ending.TIMED_OUT), events)


def stop(state: RunState) -> Transition:
    """Close a run that was interrupted or broke down: nobody is at work any more."""
    _require_open(state)
    agents = {agent.id: _resting(agent) for agent in state.agents.values()}
    return Transition(state._replace(agents=agents, ending=Ending.STOPPED))


def _resting(agent: Agent) -> Agent:
    if agent.status not in _AT_WORK | _READY:
        return agent
    if agent.vote:
        return agent._replace(status=AgentStatus.VOTED)
    return agent._replace(status=AgentStatus.ANSWERED if agent.answers else AgentStatus.WAITING)


def _require_open(state: RunState) -> None:
    if state.ending:
        raise IllegalTransitionError(f"the run is over: {state.ending.value}")


def _living(state: RunState, agent_id: str) -> Agent:
    _require_open(state)
    agent = state.agents[agent_id]
    if not agent.is_living:
        raise IllegalTransitionError(f"{agent_id} has failed")
    return agent


def _at_work(state: RunState, agent_id: str) -> Agent:
    agent = _living(state, agent_id)
    if agent.status not in _AT_WORK or state.phase is Phase.PRESENTATION:
        raise IllegalTransitionError(f"{agent_id} is not at work: {agent.status}")
    return agent


def _put(state: RunState, agent: Agent) -> RunState:
    return state._replace(agents={**state.agents, agent.id: agent})


def _measured(state: RunState) -> RunState:
    """Take note of how far the run is; restarts and failures never set it back."""
    done = len(state.current_answers) + len(state.votes)
    percentage = 100 * done // (2 * len(state.agents))
    return state._replace(
        best_percentage=max(state.best_percentage, min(percentage, MAX_BEFORE_END))
    )


def _preview(content: str) -> str:
    return one_line(content, ANSWER_PREVIEW_CHARS)
