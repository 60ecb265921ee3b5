"""An agent's talk with its model in one turn, reminders included. Runs on: the run container."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from runner.contract.spec import AgentSpec, RunSpec
from runner.contract.status import AgentErrorType
from runner.contract.text import encodable, one_line
from runner.coordination import prompts
from runner.coordination.acting.asking import Asker
from runner.coordination.acting.choosing import Chooser, flat
from runner.coordination.acting.hands import Hands
from runner.coordination.acting.link import LinkLostError
from runner.coordination.acting.loop import TOOL_NAME, Worked, work
from runner.coordination.acting.toolbox import Toolbox
from runner.coordination.models import decisions
from runner.coordination.models.client import ModelClient
from runner.coordination.models.decisions import NewAnswer
from runner.coordination.models.stream import (
    MAX_TOOL_CALLS,
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

MAX_REMINDERS = 3
"""How often a model that does not decide is asked again."""
_REPLAYED_CHARS = 2000
"""How much of a reply without a decision the model is shown again."""
_MESSAGE_CHARS = 1000


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


class Patience:
    """How often a model that does not decide is still asked; work in between renews it."""

    def __init__(self) -> None:
        self._left = MAX_REMINDERS

    def remind(self, worked: Worked, feedback: str) -> tuple[Message, ...]:
        """Return the conversation with a reminder. Raises AgentFailedError after the last one."""
        if worked.has_acted:
            self._left = MAX_REMINDERS
        if self._left == 0:
            message = f"no decision after {MAX_REMINDERS} reminders; the last one was: {feedback}"
            raise AgentFailedError(AgentErrorType.PROTOCOL, message)
        self._left -= 1
        return reminded(worked.messages, worked.reply, feedback)


class Talk:
    """Asks one agent's model for one turn, and carries out what it does with its tools."""

    def __init__(self, seat: Seat) -> None:
        asker = Asker(seat.client, seat.agent, seat.listen)
        self._ask = asker.ask
        self._hands: Hands | None = None
        self._chooser: Chooser | None = None
        if seat.toolbox is None or seat.agent.tools is None:
            return
        hands = Hands(seat.toolbox, seat.agent.tools, seat.listen, asker.window_chars)
        if seat.agent.decision_mode == "json_schema":
            self._chooser = Chooser(asker.ask, hands, asker.window_chars)
        else:
            self._hands = hands

    @property
    def is_by_choice(self) -> bool:
        """The model chooses tools by JSON schema, and has to choose when it is done with them."""
        return self._chooser is not None

    async def work(self, request: Request) -> Worked:
        """Return the model's reply once it acts no more. Raises AgentFailedError."""
        with _failing_the_agent():
            return await work(self._ask, request, self._hands)

    async def choose(self, request: Request, choices: Mapping[str, str]) -> Worked:
        """Return the model's choice of one of `choices`, or nonsense. Raises AgentFailedError."""
        if self._chooser is None:
            raise AssertionError
        with _failing_the_agent():
            return await self._chooser.work(request, choices)

    async def text(self, request: Request) -> str:
        """Return what the model writes after its work. Raises AgentFailedError."""
        if self.is_by_choice:
            request = await self._after_work(request)
        return await self.plain_text(request)

    async def plain_text(self, request: Request) -> str:
        """Return what the model writes, by choice without tools. Raises AgentFailedError."""
        patience = Patience()
        while True:
            worked = await self.work(request)
            answer = decisions.plain_answer(worked.reply)
            if worked.refused is None and isinstance(answer, NewAnswer):
                return answer.content
            feedback = worked.refused or decisions.EMPTY
            request = request._replace(messages=patience.remind(worked, feedback))

    async def _after_work(self, request: Request) -> Request:
        """Let the model work by choice until it is done; return how to ask for its text."""
        patience, choices = Patience(), {decisions.DONE: prompts.ALL_DONE}
        while True:
            worked = await self.choose(request, choices)
            if worked.refused is None and decisions.choice_of(worked.reply) == decisions.DONE:
                return request._replace(messages=after_choice(worked))
            feedback = worked.refused or decisions.must_choose(tuple(choices))
            request = request._replace(messages=patience.remind(worked, feedback))


@contextmanager
def _failing_the_agent() -> Iterator[None]:
    """Turn what ends a turn, and not the run, into an AgentFailedError."""
    try:
        yield
    except ModelFailure as failure:
        raise AgentFailedError(failure.type, failure.message) from failure
    except LinkLostError as error:
        said = f"its tools cannot be reached: {error}"
        raise AgentFailedError(AgentErrorType.TOOL, said) from error


def after_choice(worked: Worked) -> tuple[Message, ...]:
    """Return the conversation in which a model that chose to answer is asked for the text."""
    return flat(worked.messages, prompts.WRITE_NOW)


def reminded(messages: tuple[Message, ...], reply: Reply, feedback: str) -> tuple[Message, ...]:
    """Return the conversation with a reply that decided nothing and why it did not.

    Calls that a provider would refuse to be shown again (broken JSON, odd names) become text.
    """
    calls = reply.tool_calls
    if 0 < len(calls) <= MAX_TOOL_CALLS and all(map(_is_presentable, calls)):
        shown_calls = tuple(call._replace(arguments=encodable(call.arguments)) for call in calls)
        said = AssistantMessage(encodable(reply.text), shown_calls, reply.kept)
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
    is_named = TOOL_NAME.fullmatch(call.name) is not None
    return is_small and is_named and decisions.json_object(call.arguments) is not None
