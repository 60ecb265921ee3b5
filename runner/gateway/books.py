"""The books of a run: no call goes out that its budget does not cover. Runs on: host.

Everything here happens in the event loop; from the look at the accounts to the reservation and its
line in the ledger nothing is awaited, so that no other call comes in between.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from runner.contract.status import AgentErrorType
from runner.contract.usage import RunUsage
from runner.gateway.budget import (
    NO_LIMITS,
    Account,
    Amount,
    DoesNotFitError,
    Limits,
    Reservation,
    picousd,
    usd,
)
from runner.gateway.ledger import CallEnd, CallRecord, Ledger
from runner.gateway.meter import Meter, Tokens
from runner.gateway.model_request import ModelRequest
from runner.gateway.plan import Plan, plan_call
from runner.gateway.pricing import Price, cost
from runner.gateway.refusal import Refusal
from runner.gateway.routes import Route
from runner.gateway.upstream import CallProgress

logger = logging.getLogger(__name__)


class Budget(NamedTuple):
    """What a run may use; with `parent`, also what the run above it has left."""

    limits: Limits = NO_LIMITS
    per_agent: Limits = NO_LIMITS
    parent: Account | None = None


NO_BUDGET = Budget()


def _unheard(_: str) -> None:
    pass


class Books:
    """Accounts and ledger of one run.

    `prices` names all agents; a price is None where it is not known, which must not be where money
    is limited. `notify` hears once that a budget is nearly used up, or had to be closed.
    """

    def __init__(
        self,
        run_id: str,
        ledger: Ledger,
        prices: Mapping[str, Price | None],
        budget: Budget = NO_BUDGET,
        notify: Callable[[str], None] = _unheard,
    ) -> None:
        self._run_id = run_id
        self._ledger = ledger
        self._prices = dict(prices)
        self._notify = notify
        self._note: str | None = None
        self._run = Account("this run", budget.limits, budget.parent)
        self._agents = {name: Account(name, budget.per_agent, self._run) for name in prices}
        self._settled = asyncio.Event()
        self._top = list(self._run.lineage())[-1]
        self._top.listeners.append(self._settled.set)

    def take_up(self) -> None:
        """Charge what an earlier process noted in the ledger of this run."""
        for call in self._ledger.take_up():
            account = self._agents.get(call.agent_id, self._run)
            charged = Amount(
                picousd(call.cost_usd or 0.0), call.input_tokens + call.output_tokens, 1
            )
            for each in account.lineage():
                each.settled = each.settled.plus(charged)

    def close(self) -> None:
        """Leave the accounts above the run, which may go on."""
        self._top.listeners.remove(self._settled.set)

    def usage(self) -> RunUsage:
        """Return what the calls that have ended took, and what is set aside for others."""
        limit = self._run.limits.picousd
        is_priced = any(price is not None for price in self._prices.values())
        return self._ledger.usage().model_copy(
            update={
                "budget_usd": None if limit is None else usd(limit),
                "reserved_usd": usd(self._run.reserved.picousd) if is_priced else None,
                "budget_note": self._note,
            }
        )

    async def open(self, route: Route, asked: ModelRequest) -> "OpenCall":
        """Set aside what a call can take, note it, and return it with what is to be sent.

        Waits while the call only lacks what is set aside for others. Raises Refusal of type
        `budget` where it will not fit.
        """
        account = self._agents[route.agent_id]
        price = self._prices[route.agent_id]
        while True:
            self._settled.clear()
            try:
                plan = plan_call(asked, route, price, account, agents=len(self._agents))
            except DoesNotFitError as error:
                if error.for_good:
                    raise Refusal(402, str(error), type=AgentErrorType.BUDGET) from error
            else:
                return self._let_out(plan, route, account, price)
            await self._settled.wait()

    def _let_out(
        self, plan: Plan, route: Route, account: Account, price: Price | None
    ) -> "OpenCall":
        record = CallRecord(
            call_id=os.urandom(8).hex(),
            state="open",
            run_id=self._run_id,
            agent_id=route.agent_id,
            provider=route.provider.name,
            model=route.model,
            started=time.time(),
            input_tokens=plan.worst.input_tokens,
            output_tokens=plan.worst.all_output_tokens,
            cost_usd=None if price is None else usd(plan.amount.picousd),
            estimated=True,
        )
        is_noted = self._ledger.write(record)
        if not is_noted and any(each.limits.any for each in account.lineage()):
            raise Refusal(503, "usage.jsonl cannot be written: no call is let out uncounted")
        return OpenCall(self, plan, record, account.reserve(plan.amount), price)

    def write(self, record: CallRecord) -> None:
        """Append the line of a call that has ended."""
        self._ledger.write(record)

    async def synced(self) -> None:
        """Wait until the disk has every line."""
        await self._ledger.synced()

    def charge(self, record: CallRecord, reservation: Reservation, used: Amount) -> None:
        """Settle a call, and say once what its user should know of the budget."""
        self._ledger.count(record)
        excess = reservation.settle(used)
        said = [excess, *(each.near_limit() for each in reservation.account.lineage())]
        for sentence in filter(None, said):
            self._note = sentence
            self._notify(sentence)


class OpenCall:
    """A call that was let out; `settle` must follow, however it ends."""

    def __init__(
        self,
        books: Books,
        plan: Plan,
        record: CallRecord,
        reservation: Reservation,
        price: Price | None,
    ) -> None:
        self.request = plan.request
        """What is to be sent."""
        self._worst = plan.worst
        self._books = books
        self._record = record
        self._reservation = reservation
        self._price = price

    async def note(self, end: CallEnd, progress: CallProgress, meter: Meter) -> None:
        """Have on the disk what the call took, before its end is passed on.

        Nothing is given back yet: should more follow, the line is written again.
        """
        self._write(end, progress, self._tokens(progress, meter))
        await self._books.synced()

    def settle(self, end: CallEnd, progress: CallProgress, meter: Meter) -> None:
        """Put what the call took in the place of what was set aside for it."""
        tokens = self._tokens(progress, meter)
        if tokens.is_odd:
            logger.warning(
                "%s: %s reported usage that no call can have: clamped",
                self._record.agent_id,
                self._record.provider,
            )
        self._write(end, progress, tokens)
        self._books.charge(self._record, self._reservation, self._used(tokens, progress))

    def _tokens(self, progress: CallProgress, meter: Meter) -> Tokens:
        if not progress.may_cost:
            return Tokens()
        tokens = meter.tokens()
        return self._within(tokens) if tokens.estimated else tokens

    def _within(self, tokens: Tokens) -> Tokens:
        """Return an estimate cut to what the call could take: it must not close a budget."""
        longest = self._worst.all_output_tokens or tokens.output
        return tokens._replace(
            input=min(tokens.input, self._worst.input_tokens), output=min(tokens.output, longest)
        )

    def _used(self, tokens: Tokens, progress: CallProgress) -> Amount:
        money = picousd(cost(self._price, tokens)) if self._price and progress.may_cost else 0
        return Amount(money, tokens.input + tokens.output, 1)

    def _write(self, end: CallEnd, progress: CallProgress, tokens: Tokens) -> None:
        settled = self._record.model_copy(
            update={
                "state": "settled",
                "ended": time.time(),
                "end": end,
                "status": progress.status,
                "attempts": progress.attempts,
                "request_id": progress.request_id,
                "input_tokens": tokens.input,
                "output_tokens": tokens.output,
                "cached_tokens": tokens.cached,
                "reasoning_tokens": tokens.reasoning,
                "cost_usd": None
                if self._price is None
                else usd(self._used(tokens, progress).picousd),
                "estimated": tokens.estimated,
                "cached_response": progress.cached_response,
            }
        )
        if settled.model_copy(update={"ended": self._record.ended}) != self._record:
            self._record = settled
            self._books.write(settled)
