"""`massgen-runner prices`: what models cost, and where the figure is from. Runs on: host."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from runner.cli.examples import examples

if TYPE_CHECKING:
    from runner.config.models import RunConfig
    from runner.config.prices import OwnPrices
    from runner.config.providers import Provider
    from runner.errors import ConfigurationError
    from runner.gateway.pricing import Price
    from runner.report.prices import PricedModel


@click.command(
    epilog=examples(
        "massgen-runner prices gpt-5-mini",
        "massgen-runner prices claude/claude-sonnet-4-5 --json",
        "massgen-runner prices --config team.yaml",
    )
)
@click.argument("model", required=False)
@click.option(
    "--config", metavar="FILE", help="With this configuration's prices; without MODEL its models'."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def prices(model: str | None, config: str | None, as_json: bool) -> None:
    """Show what MODEL would be charged: MODEL or PROVIDER/MODEL; without it all that is known.

    The figures are in USD for a million tokens. A model without a price ends the command with 1.
    """
    import os

    from runner.report.prices import price_json, price_lines, price_table

    found = _found(model, config, os.environ)
    if as_json:
        import json

        click.echo(json.dumps([price_json(one) for one in found], indent=2))
        return
    is_list = model is None and config is None
    lines = price_table(found) if is_list else (x for one in found for x in price_lines(one))
    for line in lines:
        click.echo(line)


def _found(
    model: str | None, config: str | None, environ: Mapping[str, str]
) -> "Sequence[PricedModel]":
    from runner.config.prices import own_prices, user_prices

    if config is None:
        own = user_prices(environ)
        return _all(own) if model is None else _named(model, own)
    from pathlib import Path

    from runner.config.load import load_config

    loaded = load_config(config, cwd=Path.cwd())
    own = own_prices(loaded.config, loaded.path, environ)
    return _of_agents(loaded.config, own) if model is None else _named(model, own)


def _of_agents(config: "RunConfig", own: "OwnPrices") -> "Sequence[PricedModel]":
    """Return the prices of a configuration's models, each once."""
    from runner.config.providers import base_url_for
    from runner.gateway.pricing import find_price
    from runner.report.prices import PricedModel

    found = {}
    for backend in (agent.backend for agent in config.agents):
        name = f"{backend.type}/{backend.model}"
        url = base_url_for(backend.provider, backend.base_url)
        price = find_price(backend.provider, backend.model, own, base_url=url)
        if price is None:
            raise _unpriced(name)
        found[name, url] = PricedModel(name, price)
    return list(found.values())


def _named(model: str, own: "OwnPrices") -> "Sequence[PricedModel]":
    """Return the price of `PROVIDER/MODEL`, or of a model with every provider who has it."""
    from runner.config.providers import PROVIDERS
    from runner.gateway.pricing import find_price
    from runner.report.prices import PricedModel

    first, slash, rest = model.partition("/")
    is_whole = bool(slash and rest) and first in PROVIDERS
    asked = [(PROVIDERS[first], rest)] if is_whole else [(row, model) for row in PROVIDERS.values()]
    found = [
        PricedModel(f"{row.name}/{name}", price)
        for row, name in asked
        if (price := find_price(row, name, own)) and (is_whole or not _is_for_anything(row, price))
    ]
    if not found:
        raise _unpriced(model)
    return found


def _is_for_anything(row: "Provider", price: "Price") -> bool:
    """Tell whether a price says nothing about the model: any is free on one's own machine."""
    return row.self_hosted and price.is_free


def _all(own: "OwnPrices") -> "Sequence[PricedModel]":
    """Return the user's own prices, then those of the list for the table's providers."""
    from runner.config.providers import PROVIDERS
    from runner.gateway.pricing import find_price, listed_models
    from runner.report.prices import PricedModel

    names = dict.fromkeys(own)
    for row in PROVIDERS.values():
        names.update(dict.fromkeys(f"{row.name}/{model}" for model in listed_models(row)))
    found = []
    for name in names:
        provider, _, model = name.partition("/")
        price = find_price(PROVIDERS[provider], model, own)
        if price is not None:
            found.append(PricedModel(name, price))
    return found


def _unpriced(model: str) -> "ConfigurationError":
    from runner.config.problems import shown
    from runner.errors import ConfigurationError

    return ConfigurationError(
        f"{shown(model)}: no price is known: write PROVIDER/MODEL: {{input: USD, output: USD}}, "
        "for a million tokens, into runner.prices or ~/.config/massgen/prices.yaml"
    )
