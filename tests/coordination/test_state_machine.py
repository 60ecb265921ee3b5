"""Any interleaving of answers, votes, restarts, failures and time-outs ends. Runs on: host."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from runner.contract.events import EventType
from runner.contract.spec import CoordinationSpec
from runner.contract.status import AgentErrorType, AgentStatus, Phase
from runner.coordination import state as rules
from runner.coordination.state import (
    Ending,
    IllegalTransitionError,
    RefusedError,
    RunState,
    Transition,
)

NOW = 1000.0


class RunMachine(RuleBasedStateMachine):
    """Drives a run through whatever the rules allow, and tries what they forbid."""

    state: RunState

    @initialize(
        count=st.integers(1, 4),
        max_answers=st.integers(1, 3),
        novelty=st.sampled_from(["lenient", "balanced", "strict"]),
    )
    def begin(self, count: int, max_answers: int, novelty: str) -> None:
        settings_ = CoordinationSpec.model_validate(
            {"max_new_answers_per_agent": max_answers, "answer_novelty_requirement": novelty}
        )
        self.state = rules.new_run([f"a{n}" for n in range(1, count + 1)], settings_)
        self.restarts = dict.fromkeys(self.state.agents, 0)
        self.percentage = 0

    def apply(self, transition: Transition) -> None:
        for event in transition.events:
            if event.type is EventType.RESTART:
                assert event.agent_id is not None
                self.restarts[event.agent_id] += 1
        self.state = transition.state

    @property
    def is_coordinating(self) -> bool:
        return self.state.ending is None and self.state.phase is not Phase.PRESENTATION

    @property
    def at_work(self) -> list[str]:
        if not self.is_coordinating:
            return []
        agents = self.state.agents.values()
        return [agent.id for agent in agents if agent.status is AgentStatus.STREAMING]

    @precondition(lambda self: bool(rules.ready_agents(self.state)))
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        agent_id = data.draw(st.sampled_from(rules.ready_agents(self.state)))
        self.apply(rules.start_turn(self.state, agent_id, NOW))

    @precondition(lambda self: bool(self.at_work))
    @rule(data=st.data(), words=st.lists(st.sampled_from("abcdefgh"), max_size=6))
    def answer(self, data: st.DataObject, words: list[str]) -> None:
        agent_id = data.draw(st.sampled_from(self.at_work))
        try:
            self.apply(rules.give_answer(self.state, agent_id, " ".join(words), NOW))
        except RefusedError:
            return
        for other in self.state.agents.values():
            assert other.vote is None
            assert other.id == agent_id or other.status is not AgentStatus.STREAMING

    @precondition(lambda self: bool(self.at_work))
    @rule(data=st.data())
    def vote(self, data: st.DataObject) -> None:
        agent_id = data.draw(st.sampled_from(self.at_work))
        target = data.draw(st.sampled_from([*self.state.agents, "nobody"]))
        has_answer = target in self.state.agents and self.state.agents[target].answers
        try:
            self.apply(rules.cast_vote(self.state, agent_id, target, "reason", NOW))
        except RefusedError:
            assert not has_answer
        else:
            assert has_answer

    @precondition(lambda self: self.is_coordinating and self.state.living)
    @rule(data=st.data(), type_=st.sampled_from(AgentErrorType))
    def fail(self, data: st.DataObject, type_: AgentErrorType) -> None:
        agent_id = data.draw(st.sampled_from([agent.id for agent in self.state.living]))
        self.apply(rules.fail_agent(self.state, agent_id, type_, "failed", NOW))

    @precondition(lambda self: self.state.ending is None)
    @rule(how=st.sampled_from(["time_out", "stop"]))
    def end_early(self, how: str) -> None:
        if how == "time_out":
            self.apply(rules.time_out(self.state, "too long", NOW))
        else:
            self.apply(rules.stop(self.state))

    @precondition(lambda self: self.is_coordinating and rules.has_settled(self.state))
    @rule(presentation_fails=st.booleans())
    def settle(self, presentation_fails: bool) -> None:
        self.settle_now(presentation_fails)

    def settle_now(self, presentation_fails: bool) -> None:
        if not self.state.living:
            self.apply(rules.end_without_agents(self.state))
            return
        leading = rules.leading_answer(self.state)
        assert leading is not None
        self.apply(rules.begin_presentation(self.state, leading.author, NOW))
        if presentation_fails:
            self.apply(rules.fall_back(self.state, AgentErrorType.PROVIDER, "failed"))
        self.apply(rules.finish(self.state, "final", NOW))

    @precondition(lambda self: self.state.ending is not None)
    @rule(data=st.data())
    def come_too_late(self, data: st.DataObject) -> None:
        agent_id = data.draw(st.sampled_from(list(self.state.agents)))
        with pytest.raises(IllegalTransitionError):
            rules.give_answer(self.state, agent_id, "late", NOW)
        with pytest.raises(IllegalTransitionError):
            rules.time_out(self.state, "late", NOW)

    @invariant()
    def votes_refer_to_current_answers(self) -> None:
        labels = {answer.label for answer in self.state.current_answers}
        for vote in self.state.votes:
            assert vote.label in labels
            assert self.state.agents[vote.target].answers[-1].label == vote.label
        assert sum(rules.vote_counts(self.state).values()) == len(self.state.votes)

    @invariant()
    def nobody_answers_more_often_than_allowed(self) -> None:
        for agent in self.state.agents.values():
            assert len(agent.answers) <= self.state.max_answers
            labels = [f"{agent.name}.{k}" for k in range(1, len(agent.answers) + 1)]
            assert [answer.label for answer in agent.answers] == labels

    @invariant()
    def restarts_are_counted(self) -> None:
        counted = {agent.id: agent.times_restarted for agent in self.state.agents.values()}
        assert counted == self.restarts

    @invariant()
    def progress_never_falls(self) -> None:
        percentage = rules.completion_percentage(self.state)
        assert self.percentage <= percentage <= 100
        assert (percentage == 100) == (self.state.ending is Ending.COMPLETED)
        self.percentage = percentage

    @invariant()
    def there_is_always_somebody_to_wait_for(self) -> None:
        if self.is_coordinating and not rules.has_settled(self.state):
            assert rules.ready_agents(self.state) or self.at_work

    @invariant()
    def there_is_a_winner_only_at_a_good_end(self) -> None:
        assert (self.state.winner is not None) == (self.state.ending is Ending.COMPLETED)
        if self.state.ending is not None:
            statuses = {agent.status for agent in self.state.agents.values()}
            assert not statuses & {AgentStatus.STREAMING, AgentStatus.RESTARTING}

    def teardown(self) -> None:
        """From wherever the steps led, voting on brings the run to its end."""
        while self.is_coordinating and not rules.has_settled(self.state):
            for agent_id in rules.ready_agents(self.state):
                self.apply(rules.start_turn(self.state, agent_id, NOW))
            agent_id = self.at_work[0]
            if self.state.current_answers:
                target = self.state.current_answers[0].author
                self.apply(rules.cast_vote(self.state, agent_id, target, "", NOW))
            else:
                self.apply(rules.give_answer(self.state, agent_id, "an answer", NOW))
        if self.is_coordinating:
            self.settle_now(presentation_fails=False)
        assert self.state.ending is not None


RunMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRun = RunMachine.TestCase
