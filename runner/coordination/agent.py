"""One turn of one agent: ask the model until it has decided. Runs on: the run container."""

import asyncio
import re
from typing import NamedTuple

from runner.contract.spec import AgentSpec, RunSpec
from runner.contract.status import AgentErrorType
from runner.contract.text import encodable, one_line
from runner.coordination import prompts
from runner.coordination.acting.loop import Worked, work
from runner.coordination.acting.toolbox import Toolbox
from runner.coordination.models import decisions
from runner.coordination.models.client import ModelClient
from runner.coordination.models.decisions import (
    NewAnswer,
    NoDecision,
    Offer,
    VoteFor,
    WantsToAnswer,
)
from runner.coordination.models.stream import (
    AssistantMessage,
    Listener,
    Message,
    ModelFailure,
    Reply,
    Request,
    ToolCall,
    ToolResult,
    UserMessage,
)
from runner.coordination.state import (
    NotNovelError,
    RefusedError,
    RunState,
    check_answer,
    check_vote,
    may_answer,
)

MAX_REMINDERS = 3
"""How often a model that does not decide is asked again."""
MAX_REPETITIONS = 2
"""After so many answers that repeat existing ones, an agent is offered the vote only."""
_REPLAYED_CHARS = 2000
"""How much of a reply without a decision the model is shown again."""
_MESSAGE_CHARS = 1000
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Answered(NamedTuple):
    content: str


class Voted(NamedTuple):
    target: str
    """Agent id."""
    reason: str


class AgentFailedError(Exception):
    """An agent that cannot go on."""

    def __init__(self, type_: AgentErrorType, message: str) -> None:
        self.type = type_
        self.message = one_line(message, _MESSAGE_CHARS)
        super().__init__(self.message)


class Seat(NamedTuple):
    """An agent at the table: who it is and what it speaks through."""

    run: RunSpec
    agent: AgentSpec
    client: ModelClient
    listen: Listener
    toolbox: Toolbox | None = None
    """None: the agent only talks."""


async def take_turn(seat: Seat, state: RunState) -> Answered | Voted:
    """Return the agent's decision on the answers of `state`; AgentFailedError if there is none."""
    async with _TimeLimit(seat):
        if len(state.agents) == 1:
            return Answered(await _write(seat, _lone_request(seat)))
        return await _Turn(seat, state).decide()


async def present(seat: Seat, state: RunState) -> str:
    """Return the final answer of the winner, streamed as plain text."""
    name = state.agents[seat.agent.id].name
    system = prompts.presentation_instruction(name, seat.agent.system_message)
    shown = prompts.shown_answers(state)
    request = Request(system, _user(prompts.question_and_answers(seat.run.question, shown)))
    async with _TimeLimit(seat):
        return await _write(seat, request if shown else _lone_request(seat))


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
    system = prompts.lone_instruction(seat.agent.system_message)
    return Request(system, _user(encodable(seat.run.question)))


async def _ask(seat: Seat, request: Request) -> Worked:
    """Return the model's reply once it has done with its tools."""

    async def ask(asked: Request) -> Reply:
        return await seat.client.ask(seat.agent, asked, seat.listen)

    try:
        return await work(ask, request, seat.toolbox, seat.listen)
    except ModelFailure as failure:
        raise AgentFailedError(failure.type, failure.message) from failure


async def _write(seat: Seat, request: Request) -> str:
    """Return plain text from the model, reminding it when there is none."""
    messages = request.messages
    for _ in range(MAX_REMINDERS + 1):
        reply, messages = await _ask(seat, request._replace(messages=messages))
        answer = decisions.plain_answer(reply)
        if isinstance(answer, NewAnswer):
            return answer.content
        messages = reminded(messages, reply, answer.feedback)
    raise _undecided("The model's replies stayed empty.")


def _undecided(feedback: str) -> AgentFailedError:
    message = f"no decision after {MAX_REMINDERS} reminders; the last one was: {feedback}"
    return AgentFailedError(AgentErrorType.PROTOCOL, message)


class _Turn:
    """The conversation of one turn."""

    def __init__(self, seat: Seat, state: RunState) -> None:
        self._seat = seat
        self._state = state
        self._by_tool = seat.agent.decision_mode == "tools"
        self._repetitions = 0
        self._messages = _user(
            prompts.question_and_answers(seat.run.question, prompts.shown_answers(state))
        )

    async def decide(self) -> Answered | Voted:
        feedback = ""
        for _ in range(MAX_REMINDERS + 1):
            offer = self._offer()
            reply, self._messages = await _ask(self._seat, self._request(offer))
            try:
                return await self._settle(self._read(reply, offer))
            except RefusedError as error:
                self._repetitions += isinstance(error, NotNovelError)
                feedback = str(error)
            self._messages = reminded(self._messages, reply, feedback)
        raise _undecided(feedback)

    def _offer(self) -> Offer:
        authors = [answer.author for answer in self._state.current_answers]
        is_open = self._repetitions < MAX_REPETITIONS
        return Offer(
            candidates=tuple(self._state.agents[author].name for author in authors),
            may_answer=is_open and may_answer(self._state, self._seat.agent.id),
        )

    def _request(self, offer: Offer) -> Request:
        system = prompts.decision_instruction(
            self._name,
            offer,
            self._seat.run.coordination.voting_sensitivity,
            by_tool=self._by_tool,
            own=self._seat.agent.system_message,
        )
        if self._by_tool:
            return Request(system, self._messages, tools=decisions.offered_tools(offer))
        schema = decisions.choice_schema(offer) if offer.candidates else None
        return Request(system, self._messages, schema=schema)

    def _read(self, reply: Reply, offer: Offer) -> decisions.Decision:
        if self._by_tool:
            return decisions.tool_decision(reply, offer)
        if offer.candidates:
            return decisions.choice_decision(reply, offer)
        return decisions.plain_answer(reply)

    async def _settle(self, decision: decisions.Decision) -> Answered | Voted:
        """Return what may go to the state machine; RefusedError for all else."""
        match decision:
            case NoDecision(feedback):
                raise RefusedError(feedback)
            case VoteFor(name, reason):
                return Voted(self._author(name), reason)
            case WantsToAnswer():
                return self._checked(await self._write_answer())
            case NewAnswer(content):
                return self._checked(content)

    def _checked(self, content: str) -> Answered:
        check_answer(self._state, self._seat.agent.id, content)
        return Answered(content)

    async def _write_answer(self) -> str:
        own = self._seat.agent.system_message
        system = prompts.writing_instruction(self._name, own)
        return await _write(self._seat, Request(system, self._messages[:1]))

    def _author(self, name: str) -> str:
        named = [agent.id for agent in self._state.agents.values() if agent.name == name]
        check_vote(self._state, *named)
        return named[0]

    @property
    def _name(self) -> str:
        return self._state.agents[self._seat.agent.id].name


def reminded(messages: tuple[Message, ...], reply: Reply, feedback: str) -> tuple[Message, ...]:
    """Return the conversation with a reply that decided nothing and why it did not.

    Calls that a provider would refuse to be shown again (broken JSON, odd names) become text.
    """
    calls = reply.tool_calls
    if calls and all(map(_is_presentable, calls)):
        shown_calls = tuple(call._replace(arguments=encodable(call.arguments)) for call in calls)
        said = AssistantMessage(encodable(reply.text), shown_calls)
        return (*messages, said, *(ToolResult(call.id, feedback) for call in calls))
    shown = [reply.text, *(f"[called {call.name}: {call.arguments}]" for call in calls)]
    text = encodable("\n".join(shown).strip()[:_REPLAYED_CHARS])
    if text:
        return (*messages, AssistantMessage(text), UserMessage(feedback))
    last = messages[-1]
    if isinstance(last, UserMessage):
        # Two messages of one role in a row are refused by some servers' templates.
        return (*messages[:-1], UserMessage(f"{last.text}\n\n{feedback}"))
    return (*messages, UserMessage(feedback))


def _is_presentable(call: ToolCall) -> bool:
    is_small = len(call.arguments) <= _REPLAYED_CHARS
    is_named = _TOOL_NAME.fullmatch(call.name) is not None
    return is_small and is_named and decisions.json_object(call.arguments) is not None
