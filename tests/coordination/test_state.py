"""The rules of a run: answers, restarts, votes, failures and the winner. Runs on: host."""

import pytest

from runner.contract.events import EventType
from runner.contract.spec import CoordinationSpec
from runner.contract.status import AgentErrorType, AgentStatus, Phase
from runner.coordination.state import (
    Ending,
    IllegalTransitionError,
    NotNovelError,
    RefusedError,
    RunState,
    Transition,
    begin_presentation,
    best_answer,
    cast_vote,
    check_answer,
    completion_percentage,
    end_without_agents,
    fail_agent,
    fall_back,
    finish,
    give_answer,
    has_settled,
    leading_answer,
    may_answer,
    new_run,
    ready_agents,
    start_turn,
    stop,
    time_out,
    vote_counts,
)

NOW = 1000.0
PROVIDER = AgentErrorType.PROVIDER


def run_of(*agent_ids: str, **rules: object) -> RunState:
    """Return a run in which every agent has begun its first turn."""
    state = new_run(agent_ids, CoordinationSpec.model_validate(rules))
    for agent_id in agent_ids:
        state = start_turn(state, agent_id, NOW).state
    return state


def answered(state: RunState, agent_id: str, content: str) -> RunState:
    return restarted(give_answer(state, agent_id, content, NOW).state)


def voted(state: RunState, agent_id: str, target: str) -> RunState:
    return cast_vote(state, agent_id, target, "it is right", NOW).state


def restarted(state: RunState) -> RunState:
    """Return the state after every agent that could has begun its turn."""
    for agent_id in ready_agents(state):
        state = start_turn(state, agent_id, NOW).state
    return state


def types(transition: Transition) -> list[tuple[EventType, str | None]]:
    return [(event.type, event.agent_id) for event in transition.events]


def test_a_new_answer_restarts_those_at_work_and_those_who_have_voted() -> None:
    """A new answer drops votes and counts a restart for every other agent, once."""
    state = answered(run_of("a", "b", "c"), "a", "first")
    state = voted(state, "b", "a")

    moved = give_answer(state, "c", "second", NOW)

    assert types(moved) == [
        (EventType.NEW_ANSWER, "c"),
        (EventType.RESTART, "a"),
        (EventType.RESTART, "b"),
    ]
    b = moved.state.agents["b"]
    assert (b.status, b.vote, b.times_restarted) == (AgentStatus.RESTARTING, None, 2)
    assert moved.state.agents["c"].times_restarted == 1


def test_a_restarted_agent_cannot_decide_on_the_old_answers() -> None:
    """A decision that comes after the restart belongs to a turn that is no more."""
    state = give_answer(run_of("a", "b"), "a", "first", NOW).state

    with pytest.raises(IllegalTransitionError):
        give_answer(state, "b", "late", NOW)


def test_restart_is_said_to_be_completed_when_the_next_turn_begins() -> None:
    """The event log shows restart, restart_completed and a new start, in this order."""
    state = give_answer(run_of("a", "b"), "a", "first", NOW).state

    moved = start_turn(state, "b", NOW)

    assert types(moved) == [
        (EventType.RESTART_COMPLETED, "b"),
        (EventType.STARTED_STREAMING, "b"),
    ]


def test_a_vote_needs_an_answer_of_the_agent_voted_for() -> None:
    """Nobody can vote for an agent without an answer, or for one that does not exist."""
    state = answered(run_of("a", "b"), "a", "first")

    for target in ("b", "nobody"):
        with pytest.raises(RefusedError):
            cast_vote(state, "a", target, "", NOW)


def test_an_agent_may_vote_for_itself() -> None:
    """A vote for one's own answer counts like any other."""
    state = voted(answered(run_of("a", "b"), "a", "first"), "a", "a")

    assert vote_counts(state) == {"agent1.1": 1}


def test_the_first_vote_begins_enforcement_and_a_restart_does_not_end_it() -> None:
    """The phase goes from initial_answer to enforcement and never back."""
    state = answered(run_of("a", "b"), "a", "first")
    assert state.phase is Phase.INITIAL_ANSWER
    state = voted(state, "a", "a")
    assert state.phase is Phase.ENFORCEMENT

    assert answered(state, "b", "second").phase is Phase.ENFORCEMENT


def test_the_last_answer_an_agent_may_give_is_its_max() -> None:
    """After max_new_answers_per_agent answers another one is refused."""
    state = answered(run_of("a", "b", max_new_answers_per_agent=1), "a", "first")

    assert not may_answer(state, "a")
    with pytest.raises(RefusedError, match="Vote"):
        give_answer(state, "a", "second", NOW)


@pytest.mark.parametrize(
    ("requirement", "content", "is_new"),
    [
        ("lenient", "one two three four", True),
        ("balanced", "one two three four", False),
        ("balanced", "one two three five six", True),
        ("strict", "one two three five six", True),
        ("strict", "one two three five", False),
        ("strict", "seven eight", True),
    ],
)
def test_an_answer_must_be_as_new_as_required(requirement: str, content: str, is_new: bool) -> None:
    """Over 70 % (balanced) or 50 % (strict) of common words with any answer is no new answer."""
    state = run_of("a", "b", answer_novelty_requirement=requirement)
    state = answered(answered(state, "a", "one two three four"), "a", "wholly other words here")

    if is_new:
        check_answer(state, "b", content)
    else:
        with pytest.raises(NotNovelError):
            check_answer(state, "b", content)


def test_an_empty_answer_is_refused() -> None:
    """White space is no answer."""
    with pytest.raises(RefusedError):
        give_answer(run_of("a", "b"), "a", " \n", NOW)


def test_most_votes_win_and_a_tie_goes_to_the_answer_given_first() -> None:
    """Of equally many votes the earlier answer wins, whatever the order of the configuration."""
    state = answered(answered(run_of("a", "b"), "b", "first"), "a", "second")
    state = voted(voted(state, "a", "a"), "b", "b")
    assert has_settled(state)

    leading = leading_answer(state)

    assert leading is not None
    assert leading.label == "agent2.1"


def test_an_agent_that_failed_is_left_out_but_its_answer_stays() -> None:
    """The failed agent's vote is dropped; votes for its answer count, and it can win."""
    state = answered(run_of("a", "b", "c"), "a", "first")
    state = voted(voted(state, "a", "a"), "b", "a")
    state = fail_agent(state, "a", PROVIDER, "gone", NOW).state
    assert not has_settled(state)
    state = voted(state, "c", "a")

    assert has_settled(state)
    assert vote_counts(state) == {"agent1.1": 2}
    leading = leading_answer(state)
    assert leading is not None
    assert leading.author == "a"


def test_an_agent_that_times_out_has_the_status_timeout() -> None:
    """A time-out is told from other errors by status and event."""
    moved = fail_agent(run_of("a", "b"), "a", AgentErrorType.TIMEOUT, "180 s", NOW)

    assert moved.state.agents["a"].status is AgentStatus.TIMEOUT
    assert types(moved) == [(EventType.TIMEOUT, "a")]


def test_an_error_message_is_one_line() -> None:
    """A provider's message cannot add lines or colours to a log."""
    state = fail_agent(run_of("a"), "a", PROVIDER, "bad\nWINNER: x\x1b[31m", NOW).state

    failure = state.agents["a"].failure
    assert failure is not None
    assert failure.message == "bad WINNER: x"


def test_a_single_agent_settles_with_its_answer() -> None:
    """One agent alone needs no vote."""
    state = give_answer(run_of("a"), "a", "only", NOW).state

    assert has_settled(state)


def test_the_percentage_is_of_two_steps_for_each_agent_and_never_falls() -> None:
    """An answer and a vote are a step each; a restart does not set the percentage back."""
    state = answered(run_of("a", "b"), "a", "first")
    assert completion_percentage(state) == 25
    state = voted(state, "a", "a")
    assert completion_percentage(state) == 50
    state = answered(state, "b", "second")
    assert completion_percentage(state) == 50
    state = voted(voted(state, "a", "b"), "b", "b")
    assert completion_percentage(state) == 99


def test_the_run_is_complete_when_the_presentation_is() -> None:
    """Winner, 100 % and completed agents appear together, the failed one keeping its error."""
    state = answered(run_of("a", "b", "c"), "a", "first")
    state = fail_agent(state, "c", PROVIDER, "gone", NOW).state
    state = voted(voted(state, "a", "a"), "b", "a")
    state = begin_presentation(state, "a", NOW).state
    assert (state.phase, state.winner) == (Phase.PRESENTATION, None)

    moved = finish(state, "final words", NOW)

    assert (moved.state.winner, completion_percentage(moved.state)) == ("a", 100)
    assert [agent.status for agent in moved.state.agents.values()] == [
        AgentStatus.COMPLETED,
        AgentStatus.COMPLETED,
        AgentStatus.ERROR,
    ]
    assert moved.events[0].data == {"label": "agent1.final", "preview": "final words"}


def test_a_failed_presentation_falls_back_on_the_last_answer_and_says_so() -> None:
    """The event names the error and the label of the answer that is final now."""
    state = answered(run_of("a", "b"), "a", "first")
    state = voted(voted(state, "a", "a"), "b", "a")
    state = begin_presentation(state, "a", NOW).state

    moved = fall_back(state, PROVIDER, "overloaded")

    assert types(moved) == [(EventType.ERROR, "a")]
    assert moved.events[0].data["final_answer_is"] == "agent1.1"


def test_when_time_is_over_those_without_a_decision_have_timed_out() -> None:
    """Who has voted keeps its status; there is no winner, but a best answer."""
    state = answered(run_of("a", "b", "c"), "a", "first")
    state = answered(state, "b", "second")
    state = voted(state, "c", "a")

    moved = time_out(state, "too long", NOW)

    assert moved.state.ending is Ending.TIMED_OUT
    assert [agent.status for agent in moved.state.agents.values()] == [
        AgentStatus.TIMEOUT,
        AgentStatus.TIMEOUT,
        AgentStatus.VOTED,
    ]
    best = best_answer(moved.state)
    assert best is not None
    assert (best.label, moved.state.winner) == ("agent1.1", None)


def test_without_votes_the_latest_answer_is_the_best_so_far() -> None:
    """A run cut short before the first vote keeps what was written last."""
    state = answered(answered(run_of("a", "b"), "b", "first"), "a", "second")

    best = best_answer(stop(state).state)

    assert best is not None
    assert best.content == "second"


def test_a_run_that_is_over_takes_nothing_more() -> None:
    """Every transition of an ended run is a bug and says so."""
    state = fail_agent(run_of("a"), "a", PROVIDER, "gone", NOW).state
    state = end_without_agents(state).state

    with pytest.raises(IllegalTransitionError):
        time_out(state, "too long", NOW)
    with pytest.raises(IllegalTransitionError):
        stop(state)
