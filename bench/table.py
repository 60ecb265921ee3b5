"""A report as tables for people. Runs on: host."""

from rich.console import Console
from rich.table import Table

from bench.figures import PeerRow, Report, Row, Spread


def print_report(report: Report, console: Console) -> None:
    """Print a table of the runner's figures and one of MassGen's."""
    machine = report.machine
    console.print(
        f"{report.rounds} rounds on {machine.cpus} CPUs, load {machine.load_before:.1f} before; "
        f"Python {machine.python}, {machine.engine}, Linux {machine.kernel}; {report.made_at}"
    )
    console.print(_own_table(report))
    console.print(_peer_table(report))


def _own_table(report: Report) -> Table:
    has_baseline = any(row.baseline for row in report.rows)
    columns = ["figure", "median", "min", "max", "unit", "aim", "verdict"]
    table = Table(*columns, *(["baseline"] if has_baseline else []))
    for row in report.rows:
        cells = [row.title, *_spread(row.spread), row.unit, _aim(row), verdict(row)]
        if has_baseline:
            cells.append(number(row.baseline.median) if row.baseline else "")
        table.add_row(*cells)
    return table


def _peer_table(report: Report) -> Table:
    version = report.peer_version
    title = f"MassGen {version}, same server" if version else "MassGen: not installed here"
    table = Table("figure", "median", "min", "max", "published", "times ours", title=title)
    for row in report.peer:
        spread = _spread(row.spread) if row.spread else ["-", "-", "-"]
        table.add_row(row.title, *spread, row.published, _ratio(row))
    return table


def verdict(row: Row) -> str:
    """Return whether the aim is met, and by how much it is missed."""
    if row.aim is None:
        return ""
    return f"missed by {number(row.missed_by)} {row.unit}" if row.missed_by else "met"


def _aim(row: Row) -> str:
    if row.aim is None:
        return ""
    bound = number(row.aim)
    return row.aim_says if bound in row.aim_says else f"{row.aim_says}: {bound}"


def _ratio(row: PeerRow) -> str:
    if row.ratio is None:
        return ""
    return f"{row.ratio:.1f}" + ("" if row.spread else " (from the published value)")


def _spread(spread: Spread) -> list[str]:
    return [number(spread.median), number(spread.min), number(spread.max)]


def number(value: float) -> str:
    """Return a figure with about as many digits as mean something."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"
