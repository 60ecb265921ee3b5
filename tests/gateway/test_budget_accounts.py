"""Accounts: what is granted, what is given back, what is never exceeded."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from runner.gateway.budget import (
    Account,
    Amount,
    DoesNotFitError,
    Limits,
    Reservation,
    picousd,
    words,
)

SMALL = st.integers(0, 60)
AMOUNTS = st.builds(Amount, SMALL, SMALL, st.just(1))
SHARES = st.floats(0, 1)


class Spending(RuleBasedStateMachine):
    """Any interleaving of reservations and ends, over a tree of runs and agents.

    A run, a nested run below it, two agents each: six accounts, limits on some.
    """

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.root = Account("root", Limits(200, 300, 12))
        nested = Account("nested", Limits(100, None, 8), self.root)
        self.agents = [
            Account("a", Limits(80, 90, None), self.root),
            Account("b", Limits(), self.root),
            Account("c", Limits(None, 70, 3), nested),
            Account("d", Limits(60, None, None), nested),
        ]
        self.accounts = [self.root, nested, *self.agents]
        self.spent = {account.name: Amount() for account in self.accounts}

    @rule(target=held, agent=st.integers(0, 3), amount=AMOUNTS)
    def reserve(self, agent: int, amount: Amount) -> Reservation | None:
        before = [(account.settled, account.reserved) for account in self.accounts]
        try:
            return self.agents[agent].reserve(amount)
        except DoesNotFitError:
            assert before == [(account.settled, account.reserved) for account in self.accounts]
            return None

    @rule(reservation=consumes(held), share=SHARES, again=st.booleans())
    def settle(self, reservation: Reservation | None, share: float, again: bool) -> None:
        if reservation is None:
            return
        amount = reservation.amount
        used = Amount(int(amount.picousd * share), int(amount.tokens * share), 1)
        assert reservation.settle(used) is None
        if again:
            assert reservation.settle(amount) is None
        for account in reservation.account.lineage():
            self.spent[account.name] = self.spent[account.name].plus(used)

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        for account in self.accounts:
            together = account.settled.plus(account.reserved)
            for have, limit in zip(together, account.limits, strict=True):
                assert limit is None or have <= limit

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        for account in self.accounts:
            assert account.settled == self.spent[account.name]
            assert min(account.reserved) >= 0


Spending.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_no_interleaving_exceeds_a_limit = Spending.TestCase


def test_a_call_that_fits_nowhere_above_is_refused_with_figures() -> None:
    """The account that has no room is named, with what it used, what it may, and what is asked."""
    run = Account("this run", Limits(picousd(1)))
    agent = Account("agent_a", Limits(), run)
    agent.reserve(Amount(picousd(0.9), 0, 1)).settle(Amount(picousd(0.75), 0, 1))

    with pytest.raises(DoesNotFitError) as refused:
        agent.reserve(Amount(picousd(0.5), 0, 1))

    assert refused.value.for_good
    assert "this run" in str(refused.value)
    for figure in ("0.7500 USD of 1.0000 USD", "0.5000 USD"):
        assert figure in str(refused.value)


def test_what_is_set_aside_may_come_back_and_a_call_does_not() -> None:
    """Lack of money or tokens is a reason to wait while others are at work, lack of calls none."""
    account = Account("this run", Limits(100, 100, 2))
    account.reserve(Amount(90, 10, 1))

    with pytest.raises(DoesNotFitError) as busy:
        account.check(Amount(20, 10, 1))
    assert not busy.value.for_good

    account.reserve(Amount(10, 10, 1))
    with pytest.raises(DoesNotFitError) as over:
        account.check(Amount(0, 0, 1))
    assert over.value.for_good


def test_more_than_was_set_aside_is_counted_in_full_and_closes_the_accounts() -> None:
    """A provider that counts more than a call could take is believed, and not asked again."""
    run = Account("this run", Limits(picousd=1000))
    agent, other = Account("agent_a", Limits(), run), Account("agent_b", Limits(), run)

    reason = agent.reserve(Amount(100, 0, 1)).settle(Amount(101, 0, 1))

    assert reason is not None
    assert "this run" in reason
    assert run.settled.picousd == 101
    assert agent.closed is None, "it has no limit of its own"
    with pytest.raises(DoesNotFitError, match="is closed"):
        other.reserve(Amount(0, 0, 1))


def test_what_is_an_agents_own_is_not_divided_among_others() -> None:
    """A fair share is a share of what the agents have in common."""
    run = Account("this run", Limits(100, 1000))
    agent = Account("agent_a", Limits(40), run)
    assert agent.free() == Limits(40, 1000)
    assert agent.free(among=2) == Limits(40, 500)
    assert agent.free(among=4) == Limits(25, 250)


def test_eighty_percent_are_said_once() -> None:
    """The warning comes when 80 % are used, not before, and not again."""
    account = Account("this run", Limits(tokens=100))
    said = []
    for tokens in (79, 1, 5, 15):
        account.reserve(Amount(0, tokens, 1)).settle(Amount(0, tokens, 1))
        said.append(account.near_limit())

    assert said[0] is None
    assert said[1] == "80 % of the budget of this run is used: 80 tokens of 100 tokens"
    assert said[2:] == [None, None]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.0000 USD"),
        (picousd(12.5), "12.5000 USD"),
        (picousd(0.000012), "0.000012 USD"),
    ],
)
def test_money_is_shown_with_the_digits_it_needs(amount: int, text: str) -> None:
    """Cents are legible, and so is the price of one short call."""
    assert words("picousd", amount) == text
