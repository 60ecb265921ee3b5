"""Prices for people and programs, in USD for a million tokens. Runs on: host."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from runner.contract.text import one_line
from runner.gateway.pricing import Price, Rates

_MILLION = 1_000_000
_NAMES = ("input", "output", "cached_input", "cache_write", "cache_write_hour", "reasoning")
_WORDS = {
    "cached_input": "read from the cache",
    "cache_write": "put into the cache",
    "cache_write_hour": "put into the cache for an hour",
    "reasoning": "thought",
}


class PricedModel(NamedTuple):
    """A model as `PROVIDER/MODEL`, and what it costs."""

    name: str
    price: Price


def price_lines(model: PricedModel) -> Iterator[str]:
    """Yield everything about one model's price, for people."""
    price = model.price
    yield one_line(model.name)
    yield f"  {_rate_words(price.rates)}, in USD for a million tokens"
    for tier in price.tiers:
        yield f"  calls with more than {tier.above:,} tokens of input: {_rate_words(tier.rates)}"
    if price.call_usd:
        yield f"  each call: {_plain(price.call_usd)} USD"
    if price.max_output_tokens is not None:
        yield f"  longest reply: {price.max_output_tokens:,} tokens"
    yield f"  {one_line(price.source)}"


def price_table(models: Iterable[PricedModel]) -> Iterator[str]:
    """Yield one line for each model: its input, output and cached input, and its name."""
    yield f"{'input':>10} {'output':>10} {'cached':>10}  USD for a million tokens"
    for name, price in models:
        rates = (price.rates.input_usd, price.rates.output_usd, price.rates.cached_input_usd)
        figures = " ".join(f"{_plain(rate * _MILLION):>10}" for rate in rates)
        more = "  (long calls cost more)" if price.tiers else ""
        yield f"{figures}  {one_line(name)}{more}"


def price_json(model: PricedModel) -> dict[str, Any]:
    """Return one model's price as `--json` shows it."""
    price = model.price
    return {
        "model": model.name,
        "usd_per_million_tokens": _per_million(price.rates),
        "tiers": [
            {"above_input_tokens": tier.above, "usd_per_million_tokens": _per_million(tier.rates)}
            for tier in price.tiers
        ],
        "usd_per_call": float(price.call_usd),
        "max_output_tokens": price.max_output_tokens,
        "source": price.source,
    }


def _rate_words(rates: Rates) -> str:
    """Return the rates; those that are the same as of any other token are left out."""
    figures = dict(zip(_NAMES, rates, strict=True))
    usual = {"reasoning": rates.output_usd, "cache_write_hour": rates.cache_write_usd}
    words = [f"{name} {_plain(figures[name] * _MILLION)}" for name in ("input", "output")]
    words += [
        f"{text} {_plain(figures[name] * _MILLION)}"
        for name, text in _WORDS.items()
        if figures[name] != usual.get(name, rates.input_usd)
    ]
    return ", ".join(words)


def _per_million(rates: Rates) -> dict[str, float]:
    return {name: float(rate * _MILLION) for name, rate in zip(_NAMES, rates, strict=True)}


def _plain(amount: Decimal) -> str:
    """Return an amount without an exponent and without zeros at its end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
