"""The coordination as a table for people. Runs on: the run container."""

import datetime as dt
from collections.abc import Sequence

from pydantic import JsonValue

from runner.contract.events import Event
from runner.contract.text import one_line

_WHAT_CHARS = 100
_HEADER = ("event", "time", "agent", "what", "details")


def coordination_table(events: Sequence[Event]) -> str:
    """Return coordination_table.txt: one line for each event, columns aligned."""
    rows = [_HEADER, *map(_row, events)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _row(event: Event) -> tuple[str, str, str, str, str]:
    time = dt.datetime.fromtimestamp(event.timestamp, dt.UTC).strftime("%H:%M:%S.%f")[:-3]
    details = "; ".join(f"{key}: {_shown(value)}" for key, value in event.data.items())
    return (event.event_id, time, event.agent_id or "-", event.event_type.value, details)


def _shown(value: JsonValue) -> str:
    return one_line(str(value), _WHAT_CHARS)
