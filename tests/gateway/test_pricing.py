"""Prices: whose figure counts, and that no call costs more than its worst case."""

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.models import PriceConfig
from runner.config.prices import OwnPrice
from runner.config.providers import PROVIDERS
from runner.gateway.meter import MAX_TOKENS, Tokens
from runner.gateway.pricing import FREE, Price, Rates, Tier, cost, find_price, worst_cost

OWN = {
    "openai/gpt-5-mini": OwnPrice(
        PriceConfig(input=1.1, output=2, cached_input=0.3, max_output_tokens=500), "mine"
    ),
    "chatcompletion/*": OwnPrice(PriceConfig(input=3, output=4), "all"),
}


def of(provider: str, model: str, base_url: str | None = None) -> Price | None:
    """Return the price of a model without prices of one's own."""
    return find_price(PROVIDERS[provider], model, {}, base_url=base_url)


def priced(provider: str, model: str, base_url: str | None = None) -> Price:
    """Return the price of a model that has one."""
    price = of(provider, model, base_url)
    assert price is not None
    return price


def test_from_the_list() -> None:
    """The list's figure counts where the user gives none, and names list, version and page."""
    price = priced("openai", "gpt-4o")
    assert price.rates.input_usd == Decimal("2.5") / 10**6
    assert price.rates.cached_input_usd == Decimal("1.25") / 10**6
    assert price.rates.output_usd == Decimal(10) / 10**6
    assert price.source.startswith("genai-prices ")
    assert "openai/gpt-4o, https://" in price.source


def test_own_price_before_the_list() -> None:
    """What the user says counts, to the last digit; what is not said is as dear as the rest."""
    price = find_price(PROVIDERS["openai"], "gpt-5-mini", OWN)
    assert price is not None
    assert price.source == "mine"
    assert price.max_output_tokens == 500
    assert price.rates.input_usd == price.rates.cache_write_usd == Decimal("0.0000011")
    assert price.rates.cached_input_usd == Decimal("0.0000003")
    assert price.rates.reasoning_usd == price.rates.output_usd == Decimal("0.000002")


def test_own_price_for_all_models_of_a_provider() -> None:
    """`PROVIDER/*` prices every model of a provider, also one that would be free."""
    price = find_price(PROVIDERS["chatcompletion"], "x", OWN, base_url="http://localhost:1/v1")
    assert price is not None
    assert price.source == "all"


@pytest.mark.parametrize("name", [p.name for p in PROVIDERS.values() if p.self_hosted])
def test_own_machine_is_free(name: str) -> None:
    """A model on a machine of one's own costs nothing, and the price says why."""
    price = priced(name, "any", None if name == "local" else "http://127.0.0.1:8000/v1")
    assert price.is_free
    assert price.source.startswith("free: ")


def test_own_machine_needs_no_list() -> None:
    """The list is not even imported for what runs on one's own machine."""
    code = (
        "import sys; from runner.config.providers import PROVIDERS;"
        "from runner.gateway.pricing import find_price;"
        "find_price(PROVIDERS['local'], 'x', {});"
        "print('genai_prices' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "name", [p.name for p in PROVIDERS.values() if not p.self_hosted or p.key_variables]
)
def test_every_paid_provider_is_in_the_list(name: str) -> None:
    """Every provider of the table that takes money has its own entry in the list."""
    from genai_prices.data import providers

    from runner.gateway.pricing import _LISTED_AS

    assert _LISTED_AS[name] in {listed.id for listed in providers}


def test_address_decides_who_charges() -> None:
    """A `chatcompletion` address of a provider in the list is charged by that provider."""
    together = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
    assert "together/" in priced("chatcompletion", together, "https://api.together.ai/v1").source
    sonar = priced("chatcompletion", "sonar", "https://api.perplexity.ai")
    assert sonar.call_usd > 0
    assert not priced("vllm", "gpt-4o", "https://api.openai.com/v1").is_free


def test_source_is_where_the_figure_stands() -> None:
    """A figure that is taken from another provider's entry says so."""
    assert ": openai/gpt-4o-mini, " in priced("azure_openai", "gpt-4o-mini").source
    assert ": azure/o1, " in priced("azure_openai", "o1").source


def test_unknown() -> None:
    """Nobody's price is no price: neither a guess nor nothing."""
    assert of("openai", "gpt-99-nonsense") is None
    assert of("chatcompletion", "m", "https://models.example.com/v1") is None
    assert of("openai", "text-embedding-3-small") is None


def test_dearest_hour_counts() -> None:
    """A model that is cheaper at night costs what it costs by day, whatever the hour."""
    provider, found = PROVIDERS["deepseek"], set()
    for hour in (0, 8, 16, 20):
        now = dt.datetime(2026, 11, 3, hour, 45, tzinfo=dt.UTC)
        price = find_price(provider, "deepseek-chat", {}, now=now)
        assert price is not None
        found.add(price.rates)
    assert len(found) == 1


def test_long_calls_cost_more() -> None:
    """A tier holds for all tokens of a call that is longer than it, and for no other."""
    price = priced("gemini", "gemini-2.5-pro")
    assert cost(price, Tokens(input=200_000)) == 200_000 * price.rates.input_usd
    assert cost(price, Tokens(input=200_001)) > 200_001 * price.rates.input_usd


def test_each_kind_of_token_at_its_rate() -> None:
    """Cached, written and reasoning tokens are parts of input and output, each at its rate."""
    rates = Rates(*map(Decimal, (1, 10, 100, 1000, 10_000, 100_000)))
    tokens = Tokens(
        input=10, output=5, cached=3, cache_written=4, cache_written_hour=1, reasoning=2
    )
    # 3 plain, 3 cached, 3 written for minutes, 1 for an hour; 3 said, 2 thought
    assert cost(Price(rates, "s"), tokens) == 3 + 300 + 3000 + 10_000 + 30 + 200_000


_RATE = st.decimals(0, Decimal("0.1"), places=12)
_RATES = st.builds(Rates, _RATE, _RATE, _RATE, _RATE, _RATE, _RATE)
_COUNT = st.integers(0, MAX_TOKENS)
_PRICES = st.builds(
    Price,
    _RATES,
    st.just("s"),
    st.lists(st.builds(Tier, _COUNT, _RATES), max_size=3).map(tuple),
    _RATE,
)
_TOKENS = st.builds(Tokens, _COUNT, _COUNT, _COUNT, st.just(value=False), _COUNT, _COUNT, _COUNT)


@given(_PRICES, _TOKENS, _COUNT, _COUNT)
def test_no_call_exceeds_its_worst_case(
    price: Price, tokens: Tokens, more_input: int, more_output: int
) -> None:
    """A call costs at most the worst case for its tokens or more, and never less than nothing."""
    worst = worst_cost(price, tokens.input + more_input, tokens.output + more_output)
    assert 0 <= cost(price, tokens) <= worst


@given(_PRICES, _TOKENS)
def test_costs_are_exact(price: Price, tokens: Tokens) -> None:
    """A cost is a whole number of millionths of a millionth of a USD, so that sums are exact."""
    amount = cost(price, tokens)
    assert amount == amount.quantize(Decimal("1e-12"))


def test_free_is_free() -> None:
    """What is free costs nothing, also in the worst case."""
    assert worst_cost(Price(FREE, "s"), MAX_TOKENS, MAX_TOKENS) == 0


def test_all_prices_of_the_list() -> None:
    """Every price that the list can give us is exact, and never negative."""
    from genai_prices.data import providers

    from runner.gateway.pricing import _LISTED_AS

    rows = {listed: row for row, listed in _LISTED_AS.items()}
    found = [
        find_price(PROVIDERS[rows[listed.id]], model.id, {})
        for listed in providers
        if listed.id in rows
        for model in listed.models
    ]
    prices = [price for price in found if price is not None]
    assert len(prices) > 500
    for price in prices:
        assert all(0 <= rate <= Decimal("0.1") for rate in price.rates)
        assert all(rate == rate.quantize(Decimal("1e-12")) for rate in price.rates)


def test_pinned() -> None:
    """The list is pinned: the same version of the program charges the same."""
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert any(d.startswith("genai-prices==") for d in project["project"]["dependencies"])
