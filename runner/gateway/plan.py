"""What is sent in place of a request, and what is set aside for it. Runs on: host."""

from typing import Any, NamedTuple

from runner.contract.status import AgentErrorType
from runner.gateway import gemini
from runner.gateway.budget import Account, Amount, DoesNotFitError, Limits, picousd
from runner.gateway.model_request import ModelRequest
from runner.gateway.pricing import Price, worst_cost
from runner.gateway.refusal import Refusal
from runner.gateway.routes import Route
from runner.gateway.worst_case import WorstCase, refuse_unbounded, worst_case

USUAL_REPLY_TOKENS = 16_384
"""Room for a reply of a model whose longest is not known."""
SHORT_REPLY_TOKENS = 4096
"""What a reply should have room for, even where a fair share of what is left is less."""
SHORTEST_REPLY_TOKENS = 16
"""With less room a call is not worth its input."""

_ANY_LENGTH = 10**9


class Plan(NamedTuple):
    """A request as it will be sent, and the most that it can take."""

    request: ModelRequest
    worst: WorstCase
    amount: Amount


def plan_call(
    asked: ModelRequest, route: Route, price: Price | None, account: Account, *, agents: int
) -> Plan:
    """Return how a call can go out under what `account` has left for it and other agents.

    Where a budget depends on it, a reply without a limit gets one, and usage is asked for. Raises
    DoesNotFitError, or Refusal for a request whose cost has no limit at all.
    """
    free = account.free()
    is_free = price is not None and price.is_free
    if free.picousd is not None and price is None:
        raise Refusal(402, f"{route.model} has no price", type=AgentErrorType.BUDGET)
    if free.tokens is not None or (free.picousd is not None and not is_free):
        refuse_unbounded(asked)
        asked = _bounded(asked, route, price, account, agents)
    worst = worst_case(asked)
    plan = Plan(asked, worst, amount_of(worst, price))
    account.check(plan.amount)
    return plan


def amount_of(worst: WorstCase, price: Price | None) -> Amount:
    """Return the most that a call can take; money only where the price is known."""
    output = worst.all_output_tokens
    money = picousd(worst_cost(price, worst.input_tokens, output)) if price else 0
    return Amount(money, worst.input_tokens + output, 1)


def _bounded(
    asked: ModelRequest, route: Route, price: Price | None, account: Account, agents: int
) -> ModelRequest:
    changes: dict[str, Any] = {}
    if route.dialect == "chat" and asked.stream and route.provider.stream_usage:
        given = asked.fields.get("stream_options")
        options = given if isinstance(given, dict) else {}
        changes["stream_options"] = {**options, "include_usage": True}
    if worst_case(asked).output_tokens is None:
        # The limit is a part of the request, and counts as one before it is known.
        worst = worst_case(asked.changed(**changes, **_limited(asked, route, _ANY_LENGTH)))
        changes |= _limited(asked, route, _length(worst, price, account, agents))
    if all(asked.fields.get(key) == value for key, value in changes.items()):
        return asked
    return asked.changed(**changes)


def _limited(asked: ModelRequest, route: Route, length: int) -> dict[str, Any]:
    """Return what changes in a request whose reply is limited to `length` tokens."""
    if asked.is_gemini:
        return gemini.limited(asked.fields, length)
    return {route.provider.renames.get("max_tokens", "max_tokens"): length}


def _length(worst: WorstCase, price: Price | None, account: Account, agents: int) -> int:
    """Return how long the reply to a request without a limit may be.

    The model's longest reply, but no more than a fair share of what is left, so that agents can
    work side by side. A useful length comes before fairness, and waiting for what others give
    back before a short one.
    """
    longest = (price.max_output_tokens if price else None) or USUAL_REPLY_TOKENS
    room = _room(account.free(), worst, price)
    share = _room(account.free(among=agents), worst, price)
    length = min(longest, room, max(share, SHORT_REPLY_TOKENS))
    if length < min(longest, SHORT_REPLY_TOKENS) and account.awaits_settling():
        raise DoesNotFitError("no room beside the calls under way", for_good=False)
    return max(length, SHORTEST_REPLY_TOKENS)


def _room(free: Limits, worst: WorstCase, price: Price | None) -> int:
    """Return the output tokens of each reply that there is room for."""
    rooms = []
    if free.tokens is not None:
        rooms.append((free.tokens - worst.input_tokens) // worst.replies)
    if free.picousd is not None and price is not None:
        read = picousd(worst_cost(price, worst.input_tokens, 0))
        each = picousd(worst_cost(price, worst.input_tokens, 1)) - read
        if each:
            rooms.append((free.picousd - read) // (each * worst.replies))
    return max(0, min(rooms, default=USUAL_REPLY_TOKENS))
