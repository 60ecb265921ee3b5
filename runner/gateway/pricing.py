"""What a model's tokens cost, and where the figure is from. Runs on: host.

The user's own prices come first, then a price list that is kept up by others (`genai-prices`),
pinned with this program. What runs on a machine of one's own costs nothing unless its user says
so. All amounts are exact: Decimal USD with at most twelve digits after the point.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from runner.config.address import is_near
from runner.config.prices import OwnPrice, OwnPrices
from runner.config.providers import PROVIDERS, Provider
from runner.gateway.meter import Tokens

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice
    from genai_prices.types import Provider as Listed

NOTHING = Decimal(0)
_MILLION = Decimal(1_000_000)
_SMALLEST = Decimal("0.000001")
"""Of a price for a million tokens; finer ones are rounded up."""
_NOISE = Decimal("0.000000001")
"""Binary fractions that a list took over: 1.0399999999999998 is 1.04."""

_LISTED_AS: Mapping[str, str] = {
    "openai": "openai",
    "claude": "anthropic",
    "gemini": "google",
    "grok": "x-ai",
    "azure_openai": "azure",
    "zai": "zai",
    "groq": "groq",
    "openrouter": "openrouter",
    "together": "together",
    "fireworks": "fireworks",
    "cerebras": "cerebras",
    "mistral": "mistral",
    "deepseek": "deepseek",
}
"""Rows of the provider table under their names in the list."""


class Rates(NamedTuple):
    """USD for one token of each kind."""

    input_usd: Decimal
    output_usd: Decimal
    cached_input_usd: Decimal
    cache_write_usd: Decimal
    cache_write_hour_usd: Decimal
    """For what the provider's cache is to keep for an hour."""
    reasoning_usd: Decimal

    def dearer(self, other: "Rates") -> "Rates":
        """Return the higher of each two rates."""
        return Rates(*map(max, self, other))


FREE = Rates(*(NOTHING,) * len(Rates._fields))


class Tier(NamedTuple):
    """Rates of calls whose whole input has more than `above` tokens."""

    above: int
    rates: Rates


class Price(NamedTuple):
    """What the calls of one model cost."""

    rates: Rates
    source: str
    """Where the figure is from, for people."""
    tiers: tuple[Tier, ...] = ()
    """Dearer rates of long calls, by rising `above`; each holds for all tokens of the call."""
    call_usd: Decimal = NOTHING
    """For the call itself."""
    max_output_tokens: int | None = None
    """The longest reply; None: not known."""
    context_tokens: int | None = None
    """The most that a call can read and write together; None: not known."""

    @property
    def is_free(self) -> bool:
        return self.rates == FREE and not self.tiers and not self.call_usd

    def rates_for(self, input_tokens: int) -> Rates:
        """Return the rates of a call with so much input; more input never makes one cheaper."""
        rates = self.rates
        for tier in self.tiers:
            if input_tokens > tier.above:
                rates = rates.dearer(tier.rates)
        return rates


def cost(price: Price, tokens: Tokens) -> Decimal:
    """Return what a call with these tokens costs, in USD; parts that exceed their whole are cut."""
    rates = price.rates_for(tokens.input)
    cached = min(tokens.cached, tokens.input)
    written = min(tokens.cache_written, tokens.input - cached)
    for_an_hour = min(tokens.cache_written_hour, written)
    reasoning = min(tokens.reasoning, tokens.output)
    return (
        price.call_usd
        + (tokens.input - cached - written) * rates.input_usd
        + cached * rates.cached_input_usd
        + (written - for_an_hour) * rates.cache_write_usd
        + for_an_hour * rates.cache_write_hour_usd
        + (tokens.output - reasoning) * rates.output_usd
        + reasoning * rates.reasoning_usd
    )


def worst_cost(price: Price, input_tokens: int, output_tokens: int) -> Decimal:
    """Return the most that a call with at most so many tokens can cost, in USD.

    Every token counts at the highest rate that it can have: whether input is read from a cache
    or put into one is known only afterwards.
    """
    rates = price.rates_for(input_tokens)
    per_input = max(
        rates.input_usd, rates.cached_input_usd, rates.cache_write_usd, rates.cache_write_hour_usd
    )
    per_output = max(rates.output_usd, rates.reasoning_usd)
    return price.call_usd + input_tokens * per_input + output_tokens * per_output


def find_price(
    provider: Provider,
    model: str,
    own: OwnPrices,
    *,
    base_url: str | None = None,
    now: dt.datetime | None = None,
) -> Price | None:
    """Return the price of a model, None where nobody has said one.

    `base_url` is the address in effect, None for the provider's own: a server of one's own is
    free, and an address that belongs to a provider of the list is charged by that one.
    """
    given = own.get(f"{provider.name}/{model}") or own.get(f"{provider.name}/*")
    if given is not None:
        return _own(given)
    if provider.self_hosted and _is_at_home(base_url):
        return Price(FREE, f"free: {provider.name} runs on a machine of your own")
    listed = _listed_provider(provider, base_url)
    if listed is not None:
        return _from_list(listed, model, now or dt.datetime.now(dt.UTC))
    if provider.self_hosted and provider.name != "chatcompletion":
        return Price(FREE, f"free: a server of your own, by its type {provider.name}")
    return None


def listed_models(provider: Provider) -> list[str]:
    """Return the names of all models of a provider that are in the list."""
    listed = _listed_provider(provider, None)
    return [model.id for model in listed.models] if listed else []


def _own(given: OwnPrice) -> Price:
    price = given.price
    read = _per_token(price.input)
    written = _per_token(price.output)
    to_cache = _per_token(price.cache_write, read)
    return Price(
        Rates(
            input_usd=read,
            output_usd=written,
            cached_input_usd=_per_token(price.cached_input, read),
            cache_write_usd=to_cache,
            cache_write_hour_usd=to_cache,
            reasoning_usd=_per_token(price.reasoning, written),
        ),
        given.source,
        max_output_tokens=price.max_output_tokens,
    )


def _per_token(per_million: float | Decimal | None, default: Decimal = NOTHING) -> Decimal:
    """Return a price for one token; `str` has the digits that its user wrote."""
    if per_million is None:
        return default
    exact = Decimal(str(per_million)).quantize(_NOISE)
    return exact.quantize(_SMALLEST, ROUND_CEILING) / _MILLION


def _is_at_home(base_url: str | None) -> bool:
    if base_url is None:
        return True
    try:
        url = urlsplit(base_url)
        return url.scheme == "http+unix" or is_near(url)
    except ValueError:
        return False


def _listed_provider(provider: Provider, base_url: str | None) -> "Listed | None":
    """Return the provider of the list to whom a call goes."""
    import re

    from genai_prices.data import providers

    name = _row_at(base_url) or ""
    for listed in providers:
        if name == listed.id or (base_url and re.match(listed.api_pattern, base_url.lower())):
            return listed
    own_name = _LISTED_AS.get(provider.name)
    return next((listed for listed in providers if listed.id == own_name), None)


def _row_at(base_url: str | None) -> str | None:
    """Return the list's name of the row whose address has the same host."""
    host = urlsplit(base_url or "").hostname
    for row in PROVIDERS.values():
        if host and row.base_url and urlsplit(row.base_url).hostname == host:
            return _LISTED_AS.get(row.name)
    return None


def _from_list(listed: "Listed", model: str, now: dt.datetime) -> Price | None:
    from genai_prices.data import providers

    found = listed.find_model(model, all_providers=providers)
    if found is None:
        return None
    samples = _prices_of_a_day(found, now)
    if not any(vars(sample) for sample in samples) and found.id.endswith(":free"):
        return Price(FREE, _source(listed, found), context_tokens=found.context_window)
    if any(s.input_mtok is None or s.output_mtok is None for s in samples):
        return None  # not a model that reads and writes text
    starts = sorted({start for sample in samples for start in _starts(sample)})
    return Price(
        _rates(samples, 0),
        _source(listed, found),
        tiers=tuple(Tier(start, _rates(samples, start + 1)) for start in starts),
        call_usd=max(_at(s, "requests_kcount", 0) or NOTHING for s in samples) / 1000,
        context_tokens=found.context_window,
    )


def _source(listed: "Listed", found: "ModelInfo") -> str:
    """Return where a figure is from: who sells the models of others may have no list of its own."""
    from importlib.metadata import version

    from genai_prices.data import providers

    at = next((p for p in (listed, *providers) if any(found is m for m in p.models)), listed)
    page = f", {at.pricing_urls[0]}" if at.pricing_urls else ""
    return f"genai-prices {version('genai-prices')}: {at.id}/{found.id}{page}"


def _prices_of_a_day(model: "ModelInfo", now: dt.datetime) -> "list[ModelPrice]":
    """Return the prices of the coming 24 hours: some are cheaper at night, some change tomorrow.

    A run is charged at the dearest of them, for it must not be overspent as the hour changes.
    """
    return [model.get_prices(now + dt.timedelta(minutes=30 * n)) for n in range(49)]


def _starts(sample: "ModelPrice") -> list[int]:
    return [t.start for value in vars(sample).values() for t in getattr(value, "tiers", ())]


def _rates(samples: "list[ModelPrice]", input_tokens: int) -> Rates:
    """Return the dearest rates of the samples for a call with so much input."""
    rates = [_sample_rates(sample, input_tokens) for sample in samples]
    return Rates(*map(max, *rates))


def _sample_rates(sample: "ModelPrice", input_tokens: int) -> Rates:
    def rate(key: str, default: Decimal = NOTHING) -> Decimal:
        return _per_token(_at(sample, key, input_tokens), default)

    read, written = rate("input_mtok"), rate("output_mtok")
    to_cache = rate("cache_write_mtok", read)
    return Rates(
        input_usd=read,
        output_usd=written,
        cached_input_usd=rate("cache_read_mtok", read),
        cache_write_usd=to_cache,
        cache_write_hour_usd=rate("cache_write_1h_mtok", to_cache),
        reasoning_usd=rate("output_reasoning_mtok", written),
    )


def _at(sample: "ModelPrice", key: str, input_tokens: int) -> Decimal | None:
    value: Any = getattr(sample, key)
    for tier in reversed(getattr(value, "tiers", ())):
        if input_tokens > tier.start:
            return Decimal(tier.price)
    plain: Decimal | None = getattr(value, "base", value)
    return plain
