"""What runs have cost, in tables that add up. Runs on: host."""

import csv
import datetime as dt
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args

from runner.contract.text import one_line
from runner.gateway.budget import picousd
from runner.gateway.ledger import CallRecord
from runner.host.costs import RunCalls

By = Literal["run", "model", "agent", "day", "config"]
GROUPS: tuple[By, ...] = get_args(By)
UNKNOWN = "unknown"
_QUESTION_CHARS = 40
_LEAST_DIGITS = 4


class Sum(NamedTuple):
    """Calls added up. Money is whole picodollars, so that no sum is rounded."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: int = 0
    """Of calls that have ended."""
    open_calls: int = 0
    """Calls under way, or of a process that was killed; they are among `calls`."""
    set_aside: int = 0
    """The most that open calls can cost; not in `cost`. Their tokens are not counted."""
    unpriced_calls: int = 0
    """Calls of models without a known price; they are among `calls`."""

    def plus(self, other: "Sum") -> "Sum":
        return Sum(*(a + b for a, b in zip(self, other, strict=True)))


class Row(NamedTuple):
    """One line of a table."""

    name: str
    sum: Sum
    depth: int = 0
    question: str = ""
    parent_run_id: str | None = None


def rows(runs: Sequence[RunCalls], by: By) -> list[Row]:
    """Return one row for each run, in the order given, or for each model, agent, day or config."""
    if by == "run":
        return [
            Row(
                run.run_id,
                total(run.calls),
                run.depth,
                one_line(run.question, _QUESTION_CHARS),
                run.parent_run_id,
            )
            for run in runs
        ]
    name_of = _NAMES[by]
    sums: dict[str, Sum] = {}
    for run in runs:
        for call in run.calls:
            name = one_line(name_of(run, call)) or UNKNOWN
            sums[name] = sums.get(name, Sum()).plus(_sum(call))
    return [Row(name, sums[name]) for name in sorted(sums)]


def total(calls: Iterable[CallRecord]) -> Sum:
    """Return the sum of calls."""
    result = Sum()
    for call in calls:
        result = result.plus(_sum(call))
    return result


def _sum(call: CallRecord) -> Sum:
    amount = picousd(call.cost_usd or 0.0)
    unpriced = int(call.cost_usd is None)
    if call.state == "open":
        return Sum(calls=1, open_calls=1, set_aside=amount, unpriced_calls=unpriced)
    return Sum(
        calls=1,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        cached_tokens=call.cached_tokens,
        cost=amount,
        unpriced_calls=unpriced,
    )


def _day(_: RunCalls, call: CallRecord) -> str:
    try:
        return dt.datetime.fromtimestamp(call.started).astimezone().date().isoformat()
    except (OverflowError, ValueError, OSError):
        return UNKNOWN


_NAMES: dict[By, Callable[[RunCalls, CallRecord], str]] = {
    "model": lambda _, call: f"{call.provider}/{call.model}",
    "agent": lambda _, call: call.agent_id,
    "day": _day,
    "config": lambda run, _: run.config_path or "",
}


def table(found: Sequence[Row]) -> Iterator[str]:
    """Yield lines for people, the sum of all last."""
    whole = Row("total", _whole(found))
    lines = [*found, whole]
    digits = max(_LEAST_DIGITS, *(_digits(n) for r in lines for n in (r.sum.cost, r.sum.set_aside)))
    width = 6 + digits
    yield f"{'cost USD':>{width}}  {'calls':>7}  {'tokens in':>11}  {'out':>11}"
    for row in lines:
        amounts = row.sum
        name = f"{'  ' * row.depth}{row.name}"
        yield (
            f"{_usd(amounts.cost, digits):>{width}}  {amounts.calls:>7,}"
            f"  {amounts.input_tokens:>11,}  {amounts.output_tokens:>11,}  {name}"
            f"{f'  {row.question}' if row.question else ''}{_remarks(amounts, digits)}"
        )


def _remarks(amounts: Sum, digits: int) -> str:
    remarks = []
    if amounts.open_calls:
        aside = _usd(amounts.set_aside, digits)
        remarks.append(f"{amounts.open_calls} open: up to {aside} USD more")
    if amounts.unpriced_calls:
        remarks.append(f"{amounts.unpriced_calls} without a known price")
    return f"  ({'; '.join(remarks)})" if remarks else ""


def as_json(found: Sequence[Row], by: By) -> dict[str, Any]:
    """Return rows and their sum as `--json` shows them; `depth` says how deep a run is nested."""
    return {
        "by": by,
        "rows": [{**_place(row, by), **_figures(row.sum)} for row in found],
        "total": _figures(_whole(found)),
    }


def _place(row: Row, by: By) -> dict[str, Any]:
    if by != "run":
        return {"name": row.name}
    return {"name": row.name, "parent_run_id": row.parent_run_id, "depth": row.depth}


def _figures(amounts: Sum) -> dict[str, Any]:
    figures = amounts._asdict()
    figures["cost_usd"] = float(_exact(figures.pop("cost")))
    figures["set_aside_usd"] = float(_exact(figures.pop("set_aside")))
    return figures


def as_csv(found: Sequence[Row], by: By) -> str:
    """Return rows under a heading, without their sum."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [name for name in Sum._fields if name not in {"cost", "set_aside"}]
    writer.writerow([by, "cost_usd", "set_aside_usd", *names])
    for row in found:
        money = (f"{_exact(amount):f}" for amount in (row.sum.cost, row.sum.set_aside))
        writer.writerow([_cell(row.name), *money, *(getattr(row.sum, name) for name in names)])
    return text.getvalue()


def _cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text


def _whole(found: Iterable[Row]) -> Sum:
    result = Sum()
    for row in found:
        result = result.plus(row.sum)
    return result


def _exact(amount: int) -> Decimal:
    """Return picodollars as dollars, without zeros at the end."""
    usd = Decimal(amount).scaleb(-12)
    return usd.normalize() if usd else Decimal(0)


def _digits(amount: int) -> int:
    exponent = _exact(amount).as_tuple().exponent
    return max(0, -int(exponent))


def _usd(amount: int, digits: int) -> str:
    return f"{_exact(amount):.{digits}f}"
