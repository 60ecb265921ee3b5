"""One turn of one agent: ask the model until it has decided. Runs on: the run container."""

import asyncio
from typing import NamedTuple

from runner.contract.status import AgentErrorType
from runner.contract.text import encodable
from runner.coordination import prompts
from runner.coordination.acting.loop import Worked
from runner.coordination.models import decisions
from runner.coordination.models.decisions import (
    NewAnswer,
    NoDecision,
    Offer,
    VoteFor,
    WantsToAnswer,
)
from runner.coordination.models.stream import Message, Request, UserMessage
from runner.coordination.state import (
    NotNovelError,
    RefusedError,
    RunState,
    check_answer,
    check_vote,
    may_answer,
)
from runner.coordination.talk import AgentFailedError, Patience, Seat, Talk, after_choice

MAX_REPETITIONS = 2
"""After so many answers that repeat existing ones, an agent is offered the vote only."""


class Answered(NamedTuple):
    content: str


class Voted(NamedTuple):
    target: str
    """Agent id."""
    reason: str


async def take_turn(seat: Seat, state: RunState) -> Answered | Voted:
    """Return the agent's decision on the answers of `state`; AgentFailedError if there is none."""
    async with _TimeLimit(seat):
        if len(state.agents) == 1:
            return Answered(await Talk(seat).text(_lone_request(seat)))
        return await _Turn(seat, state).decide()


async def present(seat: Seat, state: RunState) -> str:
    """Return the final answer of the winner, streamed as plain text."""
    name = state.agents[seat.agent.id].name
    system = prompts.presentation_instruction(name, seat.agent)
    shown = prompts.shown_answers(state)
    request = Request(system, _user(prompts.question_and_answers(seat.run.question, shown)))
    async with _TimeLimit(seat):
        return await Talk(seat).text(request if shown else _lone_request(seat))


class _TimeLimit:
    """`agent_timeout_seconds` for one turn, as an AgentFailedError."""

    def __init__(self, seat: Seat) -> None:
        self._seconds = seat.run.coordination.agent_timeout_seconds
        self._timeout = asyncio.timeout(self._seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            await self._timeout.__aexit__(*exc_info)  # type: ignore[arg-type]
        except TimeoutError as error:
            message = f"no decision within agent_timeout_seconds ({self._seconds:g} s)"
            raise AgentFailedError(AgentErrorType.TIMEOUT, message) from error


def _user(text: str) -> tuple[Message, ...]:
    return (UserMessage(text),)


def _lone_request(seat: Seat) -> Request:
    system = prompts.lone_instruction(seat.agent)
    return Request(system, _user(encodable(seat.run.question)))


class _Turn:
    """The conversation of one turn."""

    def __init__(self, seat: Seat, state: RunState) -> None:
        self._seat = seat
        self._state = state
        self._talk = Talk(seat)
        self._by_tool = seat.agent.decision_mode == "tools"
        self._repetitions = 0
        self._messages = _user(
            prompts.question_and_answers(seat.run.question, prompts.shown_answers(state))
        )

    async def decide(self) -> Answered | Voted:
        patience = Patience()
        while True:
            offer = self._offer()
            worked = await self._worked(offer)
            try:
                return await self._settle(self._read(worked, offer), worked)
            except RefusedError as error:
                self._repetitions += isinstance(error, NotNovelError)
                self._messages = patience.remind(worked, str(error))

    async def _worked(self, offer: Offer) -> Worked:
        request = self._request(offer)
        if self._talk.is_by_choice:
            return await self._talk.choose(request, prompts.explained_choices(offer))
        return await self._talk.work(request)

    def _offer(self) -> Offer:
        authors = [answer.author for answer in self._state.current_answers]
        is_open = self._repetitions < MAX_REPETITIONS
        return Offer(
            candidates=tuple(self._state.agents[author].name for author in authors),
            may_answer=is_open and may_answer(self._state, self._seat.agent.id),
        )

    def _request(self, offer: Offer) -> Request:
        sensitivity = self._seat.run.coordination.voting_sensitivity
        system = prompts.decision_instruction(self._name, offer, sensitivity, self._seat.agent)
        if self._by_tool:
            return Request(system, self._messages, tools=decisions.offered_tools(offer))
        schema = decisions.choice_schema(offer.choices) if offer.candidates else None
        return Request(system, self._messages, schema=schema)

    def _read(self, worked: Worked, offer: Offer) -> decisions.Decision:
        reply = worked.reply
        if worked.refused is not None:
            return NoDecision(worked.refused)
        if self._by_tool:
            return decisions.tool_decision(reply, offer)
        if offer.candidates or self._talk.is_by_choice:
            return decisions.choice_decision(reply, offer)
        return decisions.plain_answer(reply)

    async def _settle(self, decision: decisions.Decision, worked: Worked) -> Answered | Voted:
        """Return what may go to the state machine; RefusedError for all else."""
        match decision:
            case NoDecision(feedback):
                raise RefusedError(feedback)
            case VoteFor(name, reason):
                return Voted(self._author(name), reason)
            case WantsToAnswer():
                return self._checked(await self._write_answer(worked))
            case NewAnswer(content):
                return self._checked(content)

    def _checked(self, content: str) -> Answered:
        check_answer(self._state, self._seat.agent.id, content)
        return Answered(content)

    async def _write_answer(self, worked: Worked) -> str:
        system = prompts.writing_instruction(self._name, self._seat.agent)
        # Whoever has worked with tools knows from the conversation what came of it.
        messages = after_choice(worked) if self._talk.is_by_choice else self._messages[:1]
        return await self._talk.plain_text(Request(system, messages))

    def _author(self, name: str) -> str:
        named = [agent.id for agent in self._state.agents.values() if agent.name == name]
        check_vote(self._state, *named)
        return named[0]

    @property
    def _name(self) -> str:
        return self._state.agents[self._seat.agent.id].name
