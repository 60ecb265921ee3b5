"""What may be used and what is: accounts in a tree, in whole numbers. Runs on: host.

A call sets aside the most that it can cost on its agent's account and on every account above, and
settles what it did cost. Money is counted in millionths of a millionth of a dollar, so that sums
are exact. Nothing here waits: between a look and a reservation no other call comes in.
"""

from collections.abc import Callable, Iterator
from decimal import ROUND_CEILING, Decimal
from typing import Literal, NamedTuple

PICO = 10**12
"""Picodollars in a US dollar."""
WARNING_PERCENT = 80

Unit = Literal["picousd", "tokens", "calls"]
_UNITS: tuple[Unit, ...] = ("picousd", "tokens", "calls")


class Amount(NamedTuple):
    """Money, tokens and calls; none is negative."""

    picousd: int = 0
    tokens: int = 0
    calls: int = 0

    def plus(self, other: "Amount") -> "Amount":
        return Amount(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: "Amount") -> "Amount":
        return Amount(*(a - b for a, b in zip(self, other, strict=True)))

    def of(self, unit: Unit) -> int:
        return int(getattr(self, unit))


class Limits(NamedTuple):
    """The most that an account may use; None: no limit."""

    picousd: int | None = None
    tokens: int | None = None
    calls: int | None = None

    @property
    def any(self) -> bool:
        return any(limit is not None for limit in self)

    def of(self, unit: Unit) -> int | None:
        limit: int | None = getattr(self, unit)
        return limit

    def items(self) -> Iterator[tuple[Unit, int | None]]:
        """Yield each unit with its limit."""
        return zip(_UNITS, self, strict=True)

    def lower(self, other: "Limits") -> "Limits":
        """Return the lower of each two limits."""
        return Limits(*map(_lower, self, other))


def _lower(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)


NO_LIMITS = Limits()


class DoesNotFitError(Exception):
    """An amount that an account has no room for; the message has the figures."""

    def __init__(self, message: str, *, for_good: bool) -> None:
        super().__init__(message)
        self.for_good = for_good
        """False: it may fit once calls that are under way are settled."""


class Account:
    """What one agent, run or tree of runs may use; `parent` is charged along with it.

    `settled` is what has been used before, where there is anything.
    """

    def __init__(
        self,
        name: str,
        limits: Limits = NO_LIMITS,
        parent: "Account | None" = None,
        settled: Amount = Amount(),  # noqa: B008  # immutable
    ) -> None:
        self.name = name
        self.limits = limits
        self.settled = settled
        self.reserved = Amount()
        self.closed: str | None = None
        """Why nothing more is granted, where a call has cost more than was set aside for it."""
        self.listeners: list[Callable[[], None]] = []
        """Called when something was settled on this account."""
        self._parent = parent
        self._warned = False

    def lineage(self) -> "Iterator[Account]":
        """Yield this account and those above it."""
        account: Account | None = self
        while account is not None:
            yield account
            account = account._parent

    def free(self, *, among: int = 1) -> Limits:
        """Return what neither this account nor one above it has used or set aside.

        What the accounts above have left is divided among so many.
        """
        return Limits(*(self._free(unit, among) for unit in _UNITS))

    def _free(self, unit: Unit, among: int) -> int | None:
        left = [
            max(0, limit - account.settled.of(unit) - account.reserved.of(unit))
            // (1 if account is self else among)
            for account in self.lineage()
            if (limit := account.limits.of(unit)) is not None
        ]
        return min(left, default=None)

    def awaits_settling(self) -> bool:
        """Tell whether calls under way may give something back."""
        return any(each.limits.any and each.reserved.calls for each in self.lineage())

    def check(self, amount: Amount) -> None:
        """Raise DoesNotFitError unless `amount` fits here and on every account above."""
        misfits = [e for account in self.lineage() for e in account._misfits(amount)]
        if misfits:
            raise next((error for error in misfits if error.for_good), misfits[0])

    def _misfits(self, amount: Amount) -> Iterator[DoesNotFitError]:
        if self.closed is not None:
            yield DoesNotFitError(self.closed, for_good=True)
        for unit in _UNITS:
            limit = self.limits.of(unit)
            if limit is None:
                continue
            used, kept = self.settled.of(unit), self.reserved.of(unit)
            if used + kept + amount.of(unit) > limit:
                # A call is a call, however it ends: no settling brings one back.
                for_good = unit == "calls" or used + amount.of(unit) > limit
                message = self._refusal(unit, limit, amount)
                yield DoesNotFitError(message, for_good=for_good)

    def _refusal(self, unit: Unit, limit: int, amount: Amount) -> str:
        used, kept = self.settled.of(unit), self.reserved.of(unit)
        aside = f", {words(unit, kept)} set aside for calls under way" if kept else ""
        return (
            f"the budget of {self.name} does not allow another call: {words(unit, used)} of "
            f"{words(unit, limit)} used{aside}; this call may take {words(unit, amount.of(unit))}"
        )

    def reserve(self, amount: Amount) -> "Reservation":
        """Set `amount` aside here and on every account above, or raise DoesNotFitError."""
        self.check(amount)
        for account in self.lineage():
            account.reserved = account.reserved.plus(amount)
        return Reservation(self, amount)

    def near_limit(self) -> str | None:
        """Return once, when 80 % of a limit are used, a sentence that says so."""
        for unit in _UNITS:
            limit, used = self.limits.of(unit), self.settled.of(unit)
            if not self._warned and limit and used * 100 >= limit * WARNING_PERCENT:
                self._warned = True
                share = used * 100 // limit
                return (
                    f"{share} % of the budget of {self.name} is used: "
                    f"{words(unit, used)} of {words(unit, limit)}"
                )
        return None


class Reservation:
    """What is set aside for one call until `settle`."""

    def __init__(self, account: Account, amount: Amount) -> None:
        self.account = account
        self.amount = amount
        self._open = True

    def settle(self, actual: Amount) -> str | None:
        """Put what was used in the place of what was set aside; a second time has no effect.

        Nothing is hidden: where `actual` is more than was set aside, it is counted in full, every
        account with a limit on it is closed, and the reason is returned.
        """
        if not self._open:
            return None
        self._open = False
        excess = None
        for account in self.account.lineage():
            account.reserved = account.reserved.minus(self.amount)
            account.settled = account.settled.plus(actual)
            if account.closed is None:
                account.closed = self._excess(account, actual)
                excess = excess or account.closed
        for account in self.account.lineage():
            for listener in account.listeners:
                listener()
        return excess

    def _excess(self, account: Account, actual: Amount) -> str | None:
        for unit in _UNITS:
            counted, granted = actual.of(unit), self.amount.of(unit)
            if account.limits.of(unit) is not None and counted > granted:
                return (
                    f"the budget of {account.name} is closed: the provider counted "
                    f"{words(unit, counted)} for a call that could take {words(unit, granted)} at "
                    "most, so that no limit can be kept with it"
                )
        return None


def picousd(usd: Decimal | float) -> int:
    """Return an amount in US dollars as whole picodollars, a fraction rounded up."""
    return int((Decimal(str(usd)) * PICO).to_integral_value(ROUND_CEILING))


def usd(amount: int) -> float:
    """Return picodollars as US dollars."""
    return amount / PICO


def words(unit: Unit, amount: int) -> str:
    """Return an amount for people, e.g. `0.0125 USD`."""
    if unit == "picousd":
        whole, _, digits = f"{usd(amount):.{4 if amount >= PICO // 100 else 8}f}".partition(".")
        return f"{whole}.{digits[:4]}{digits[4:].rstrip('0')} USD"
    name = unit if amount != 1 else unit[:-1]
    return f"{amount:,} {name}"
