"""Usage and its sums."""

from hypothesis import given
from hypothesis import strategies as st

from runner.contract.usage import Usage


@given(st.lists(st.integers(0, 10**13), max_size=50))
def test_sums_have_no_binary_dust(picodollars: list[int]) -> None:
    """A sum of costs is the number that is nearest to the true one, not the one beside it."""
    total = Usage(cost_usd=0.0)
    for amount in picodollars:
        total += Usage(cost_usd=amount / 10**12)
    assert total.cost_usd == sum(picodollars) / 10**12


def test_what_has_no_price_adds_nothing() -> None:
    """A cost that is not known is not nothing, and takes no known one away."""
    assert (Usage(calls=1) + Usage(calls=1)).cost_usd is None
    assert (Usage(cost_usd=0.5) + Usage(calls=1)).cost_usd == 0.5
