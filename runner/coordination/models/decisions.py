"""Read a model's decision from its reply: new_answer or vote. Runs on: the run container.

Two ways, chosen per agent. By tool call: the model calls `new_answer` or `vote`. By JSON schema,
for models that call tools badly: it writes `{"reason", "choice"}`, and on the choice
`new_answer` a second call asks for the answer as plain text; while no answer exists, any plain
text is the answer. Whatever is no decision comes back as feedback for the model.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from runner.coordination.models.stream import JsonObject, Reply, Tool, ToolCall

NEW_ANSWER = "new_answer"
VOTE = "vote"
DONE = "answer"
"""The choice of an agent that decides nothing but has tools, once it is done with them."""
EMPTY = "The reply was empty. Write the answer as plain text."
REASON_MAX_CHARS = 300
_CUT_OFF = frozenset({"length", "max_tokens"})


class Offer(NamedTuple):
    """What an agent may decide: vote for a name in `candidates`, or give a new answer."""

    candidates: tuple[str, ...]
    may_answer: bool

    @property
    def choices(self) -> tuple[str, ...]:
        return (*self.candidates, *((NEW_ANSWER,) if self.may_answer else ()))


class NewAnswer(NamedTuple):
    content: str


class WantsToAnswer(NamedTuple):
    """The choice of a new answer whose text is still to be asked for."""

    reason: str


class VoteFor(NamedTuple):
    name: str
    reason: str


class NoDecision(NamedTuple):
    """Why a reply decides nothing, told to the model."""

    feedback: str


Decision = NewAnswer | VoteFor | WantsToAnswer | NoDecision


def offered_tools(offer: Offer) -> tuple[Tool, ...]:
    """Return the tools for what is on offer, the names of candidates as an enum."""
    tools = []
    if offer.may_answer:
        content = {"type": "string", "description": "The whole answer, complete by itself."}
        about = "Give a new answer that is better than every existing one."
        tools.append(Tool(NEW_ANSWER, about, object_schema(content=content)))
    if offer.candidates:
        name = {"type": "string", "enum": list(offer.candidates)}
        reason = {"type": "string", "description": "Why, in one or two sentences."}
        about = "Vote for the agent whose existing answer is best."
        tools.append(Tool(VOTE, about, object_schema(agent_id=name, reason=reason)))
    return tuple(tools)


def choice_schema(choices: Sequence[str]) -> JsonObject:
    """Return the JSON schema of a choice; the reason comes first, so that it is thought first."""
    # Without a length a small model may ramble in the string until its tokens are used up.
    reason = {"type": "string", "maxLength": REASON_MAX_CHARS}
    return object_schema(reason=reason, choice={"type": "string", "enum": list(choices)})


def object_schema(**properties: JsonObject) -> JsonObject:
    """Return the JSON schema of an object that has these properties and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def tool_decision(reply: Reply, offer: Offer) -> Decision:
    """Return what a reply of a model with tools decides."""
    if not reply.tool_calls:
        return NoDecision(f"No tool was called. {_remedy(offer)}{cut_off_note(reply)}")
    if len(reply.tool_calls) > 1:
        names = ", ".join(call.name[:40] for call in reply.tool_calls[:4])
        return NoDecision(f"Several tools were called ({names}); call exactly one.")
    call = reply.tool_calls[0]
    arguments = json_object(call.arguments)
    if arguments is None:
        return NoDecision(
            f"The arguments of {call.name[:40]} are no JSON object.{cut_off_note(reply)}"
        )
    return _called(call, arguments, offer)


def _called(call: ToolCall, arguments: JsonObject, offer: Offer) -> Decision:
    if call.name == NEW_ANSWER:
        if not offer.may_answer:
            return NoDecision(f"A new answer is not on offer now. {_remedy(offer)}")
        content = arguments.get("content")
        if not isinstance(content, str) or not content.strip():
            return NoDecision("new_answer needs `content`: the whole answer as text, not empty.")
        return NewAnswer(content)
    if call.name == VOTE:
        return vote_decision(arguments.get("agent_id"), arguments.get("reason"), offer)
    return NoDecision(f"There is no tool {call.name[:40]!r}. {_remedy(offer)}")


def vote_decision(name: Any, reason: Any, offer: Offer) -> Decision:
    """Return the vote for `name`, which may be a name, or a label such as `agent1.2`."""
    if not offer.candidates:
        return NoDecision(f"There is no answer to vote for yet. {_remedy(offer)}")
    wanted = str(name).strip().lower().partition(".")[0]
    if not isinstance(name, str) or wanted not in offer.candidates:
        known = ", ".join(offer.candidates)
        return NoDecision(f"A vote must name one of the agents with an answer: {known}.")
    return VoteFor(wanted, reason if isinstance(reason, str) else "")


def choice_decision(reply: Reply, offer: Offer) -> Decision:
    """Return what the JSON choice of a model without tools decides."""
    chosen = json_object(unfenced(reply.text))
    if chosen is None:
        wanted = '{"reason": "…", "choice": "…"}'
        return NoDecision(f"The reply must be one JSON object {wanted}.{cut_off_note(reply)}")
    choice, reason = chosen.get("choice"), chosen.get("reason")
    if choice == NEW_ANSWER and offer.may_answer:
        return WantsToAnswer(reason if isinstance(reason, str) else "")
    if choice == NEW_ANSWER or not isinstance(choice, str):
        return NoDecision(must_choose(offer.choices))
    return vote_decision(choice, reason, offer)


def choice_of(reply: Reply) -> str | None:
    """Return what a reply chooses, if it chooses."""
    choice = (json_object(unfenced(reply.text)) or {}).get("choice")
    return choice if isinstance(choice, str) else None


def must_choose(choices: Sequence[str]) -> str:
    """Return what a model is told that chose nothing that is offered."""
    return f"`choice` must be one of: {', '.join(choices)}."


def plain_answer(reply: Reply) -> NewAnswer | NoDecision:
    """Return the answer that a reply without tools is."""
    if not reply.text.strip():
        return NoDecision(EMPTY)
    return NewAnswer(reply.text)


def json_object(text: str) -> JsonObject | None:
    """Return the JSON object that `text` is, or None."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def unfenced(text: str) -> str:
    """Return `text` without the Markdown fence that models like to put around JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return text[3:-3].removeprefix("json")
    return text


def _remedy(offer: Offer) -> str:
    tools = [tool.name for tool in offered_tools(offer)]
    return f"End your turn by calling {' or '.join(tools)}."


def cut_off_note(reply: Reply) -> str:
    """Return what to add to a problem that comes from the token limit, or nothing."""
    if reply.finish_reason in _CUT_OFF:
        return " The reply was cut off at the token limit: be briefer."
    return ""
