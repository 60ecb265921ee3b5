"""What is measured of gateways, what is aimed at, and the report. Runs on: host."""

import statistics
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from bench.figures import Spread
from bench.gateway.subjects import Name
from bench.table import number


class Key(StrEnum):
    """The measured values, by their names in the JSON report."""

    START_UP = "start_up"
    MEMORY = "memory"
    ADDED_P50 = "added_p50"
    ADDED_P99 = "added_p99"
    REQUESTS = "requests_per_second"
    TOKENS = "tokens_per_second"


class _Figure(NamedTuple):
    title: str
    unit: str
    share: int | None = None
    """At most this fraction of LiteLLM's is aimed at."""


FIGURES: Mapping[Key, _Figure] = {
    Key.START_UP: _Figure("start-up until it takes calls", "s", 10),
    Key.MEMORY: _Figure("resident memory after the calls", "MiB", 4),
    Key.ADDED_P50: _Figure("latency added to a short call, p50", "ms", 5),
    Key.ADDED_P99: _Figure("latency added to a short call, p99", "ms"),
    Key.REQUESTS: _Figure("short calls, eight at once", "requests/s"),
    Key.TOKENS: _Figure("four long streams at once", "tokens/s"),
}
_OURS = (Name.GATEWAY, Name.BUDGET)
_SHOWN = (*_OURS, Name.LITELLM)
Samples = dict[Key, list[float]]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Row(_Frozen):
    """One figure of everything that was measured."""

    key: Key
    title: str
    unit: str
    spreads: dict[Name, Spread]
    direct: Spread | None = None
    """The same without anything in between."""
    aim: float | None = None
    """The highest value aimed at, in the figure's unit; None without LiteLLM."""
    aim_says: str = ""

    @property
    def missed_by(self) -> float:
        """How far the worse of our two medians is above the aim; 0: met."""
        worst = max(self.spreads[name].median for name in _OURS)
        return 0.0 if self.aim is None else max(0.0, worst - self.aim)

    @property
    def ratio(self) -> float | None:
        """How many times our figure without a budget LiteLLM's is; medians."""
        if Name.LITELLM not in self.spreads:
            return None
        return self.spreads[Name.LITELLM].median / self.spreads[Name.GATEWAY].median


class Report(_Frozen):
    """All of one `python -m bench.gateway`, as its JSON file has it."""

    schema_version: int = 1
    made_at: str
    rounds: int
    quick: bool
    cpus: int
    load_before: float
    """Load average over one minute: how much else went on."""
    kernel: str
    python: str
    pinned: bool
    """Each measured process had a core to itself, provider and client the others."""
    litellm_version: str | None
    """None where it is not installed."""
    direct_p50_ms: Spread
    rows: tuple[Row, ...]


def rows(samples: Mapping[Name, Samples], direct: Samples) -> tuple[Row, ...]:
    """Return a line for each figure, with its aim where LiteLLM was measured too."""
    return tuple(_row(key, figure, samples, direct) for key, figure in FIGURES.items())


def _row(key: Key, figure: _Figure, samples: Mapping[Name, Samples], direct: Samples) -> Row:
    peer = samples.get(Name.LITELLM)
    return Row(
        key=key,
        title=figure.title,
        unit=figure.unit,
        spreads={name: Spread.of(measured[key]) for name, measured in samples.items()},
        direct=Spread.of(direct[key]) if key in direct else None,
        aim=statistics.median(peer[key]) / figure.share if peer and figure.share else None,
        aim_says=f"<= 1/{figure.share} of LiteLLM's" if figure.share else "",
    )


def print_report(report: Report, console: Console) -> None:
    """Print a table with a column for each that was measured."""
    console.print(
        f"{report.rounds} rounds on {report.cpus} CPUs, load {report.load_before:.1f} before, "
        f"{'pinned to one core each' if report.pinned else 'not pinned'}; "
        f"Python {report.python}, Linux {report.kernel}; {report.made_at}. "
        f"A direct call takes {number(report.direct_p50_ms.median)} ms."
    )
    version = report.litellm_version
    peer = f"LiteLLM {version}" if version else "LiteLLM: not installed here"
    table = Table(
        "figure", "unit", "direct", "gateway", "with a budget", peer, "times ours", "aim", "verdict"
    )
    for row in report.rows:
        spreads = [row.direct, *(row.spreads.get(name) for name in _SHOWN)]
        ratio = "" if row.ratio is None else number(row.ratio)
        cells = [row.title, row.unit, *map(_spread, spreads), ratio, row.aim_says, verdict(row)]
        table.add_row(*cells)
    console.print(table)


def verdict(row: Row) -> str:
    """Return whether both of ours meet the aim, or by how much the worse one misses it."""
    if row.aim is None:
        return ""
    return f"missed by {number(row.missed_by)} {row.unit}" if row.missed_by else "met"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{number(spread.median)} ({number(spread.min)}-{number(spread.max)})"
