"""What a run's models cost and what it may spend, settled before it starts. Runs on: host."""

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from runner.config.load import LoadedConfig
from runner.config.models import AgentConfig, LimitsConfig
from runner.config.prices import own_prices
from runner.config.specs import request_params
from runner.config.standing_budget import (
    NO_STANDING_BUDGET,
    GivenBudget,
    standing_budget,
    with_standing,
)
from runner.errors import ConfigurationError
from runner.gateway.budget import Account, Amount, DoesNotFitError, Limits, picousd
from runner.host.day_budget import DayBudget, state_directory
from runner.host.run_spec import AgentRoute
from runner.host.run_store import RunDirectory

if TYPE_CHECKING:
    from runner.gateway.pricing import Price


class Money(NamedTuple):
    """Prices and limits of a run."""

    prices: "Callable[[], Mapping[str, Price]]"
    """By agent; those that nobody has said are left out. The first look takes a while."""
    limits: Limits
    per_agent: Limits
    day: DayBudget | None = None

    @contextmanager
    def granted(self, run: RunDirectory) -> Iterator[Limits]:
        """Yield the run's limits, for a block within which it makes its calls.

        Raises ConfigurationError where other runs have used up the day meanwhile.
        """
        if self.day is None:
            yield self.limits
            return
        with self.day.share(run, self.limits) as limits:
            yield limits


def money_for(
    loaded: LoadedConfig,
    routes: Sequence[AgentRoute],
    question: str,
    environ: Mapping[str, str],
    *,
    is_paid: bool = True,
) -> Money:
    """Return the prices and limits of a run; prices are looked up now only for a budget in USD.

    Raises ConfigurationError for such a budget without a price, for one that is used up before
    anybody has said a word, and for a price file that cannot be used. A run that is not paid (a
    replay) has its own limits, so that it ends as it did, and takes nothing out of the day.
    """
    own = own_prices(loaded.config, loaded.path, environ)

    @cache
    def prices() -> "Mapping[str, Price]":
        from runner.gateway.pricing import find_price

        found = {
            route.agent_id: find_price(route.provider, route.model, own, base_url=route.base_url)
            for route in routes
        }
        return {agent_id: price for agent_id, price in found.items() if price is not None}

    standing = standing_budget(environ) if is_paid else NO_STANDING_BUDGET
    budget = with_standing(loaded.config.runner.budget, standing.budget.per_run)
    day = _day_budget(standing, environ)
    wanted = limits_of(budget)
    limits = wanted.lower(day.left()) if day else wanted
    money = Money(prices, limits, limits_of(budget.per_agent), day)
    if problems := [*_without_price(loaded, money), *_too_small(loaded, money, question)]:
        raise ConfigurationError(*problems)
    return money


def _day_budget(standing: GivenBudget, environ: Mapping[str, str]) -> DayBudget | None:
    limits, directory = limits_of(standing.budget.per_day), state_directory(environ)
    if not limits.any or directory is None:
        return None
    today = dt.datetime.now().astimezone().date()
    return DayBudget(directory, today, limits, standing.path)


def limits_of(limits: LimitsConfig) -> Limits:
    """Return limits in the units of the accounts."""
    money = None if limits.usd is None else picousd(limits.usd)
    return Limits(money, limits.tokens, limits.calls)


def _without_price(loaded: LoadedConfig, money: Money) -> Iterator[str]:
    if not _is_in_usd(money):
        return
    for index, agent in enumerate(loaded.config.agents):
        name = f"{agent.backend.type}/{agent.backend.model}"
        if agent.id not in money.prices():
            yield (
                f"{loaded.path}: agents.{index}.backend.model: {name} has no known price, and the "
                "run has a budget in USD: write it under runner.prices, or for all runs into "
                f"~/.config/massgen/prices.yaml: {name}: {{input: USD, output: USD}}, each for a "
                "million tokens"
            )


def _is_in_usd(money: Money) -> bool:
    return money.limits.picousd is not None or money.per_agent.picousd is not None


def _too_small(loaded: LoadedConfig, money: Money, question: str) -> Iterator[str]:
    if not money.limits.any and not money.per_agent.any:
        return
    prices = money.prices() if _is_in_usd(money) else {}
    for index, agent in enumerate(loaded.config.agents):
        smallest = _smallest_call(agent, prices.get(agent.id), question)
        run = Account("this run", money.limits)
        try:
            Account(agent.id, money.per_agent, run).check(smallest)
        except DoesNotFitError as error:
            yield (
                f"{loaded.path}: the budget is too small for the first call of "
                f"agents.{index} ({agent.id}): {error}"
            )


def _smallest_call(agent: AgentConfig, price: "Price | None", question: str) -> Amount:
    """Return the least that an agent's first call must be able to take."""
    from runner.gateway.model_request import ModelRequest
    from runner.gateway.plan import SHORTEST_REPLY_TOKENS, amount_of
    from runner.gateway.worst_case import worst_case

    texts = [{"content": text} for text in (agent.system_message, question) if text]
    fields = {**request_params(agent.backend), "messages": texts}
    worst = worst_case(ModelRequest(json.dumps(fields).encode(), fields))
    shortest = worst._replace(output_tokens=worst.output_tokens or SHORTEST_REPLY_TOKENS)
    return amount_of(shortest, price)
