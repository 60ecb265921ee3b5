"""The coordination as a table for people. Runs on: the run container."""

import datetime as dt

from pydantic import JsonValue

from runner.contract.events import Event
from runner.contract.text import one_line

_WHAT_CHARS = 100
_HEADER = ("event", "time", "agent", "what", "details")


Row = tuple[str, str, str, str, str]


class Table:
    """coordination_table.txt: one line for each event, columns aligned."""

    def __init__(self) -> None:
        self._rows: list[Row] = [_HEADER]
        self._widths = [len(cell) for cell in _HEADER]
        self._lines: list[str] = []
        """The rows as they are shown; none where a column has become wider since."""

    def add(self, event: Event) -> None:
        """Add a line."""
        row = _row(event)
        widths = [max(len(cell), w) for cell, w in zip(row, self._widths, strict=True)]
        self._rows.append(row)
        # The last column is not filled up, so its width holds for the line below the header only.
        if widths[:-1] != self._widths[:-1]:
            self._lines = []
        self._widths = widths

    def text(self) -> str:
        """Return the whole table."""
        for row in self._rows[len(self._lines) :]:
            cells = (cell.ljust(w) for cell, w in zip(row[:-1], self._widths, strict=False))
            self._lines.append("  ".join((*cells, row[-1])).rstrip())
        rule = "  ".join("-" * width for width in self._widths)
        return "\n".join((self._lines[0], rule, *self._lines[1:], ""))


def _row(event: Event) -> Row:
    time = dt.datetime.fromtimestamp(event.timestamp, dt.UTC).strftime("%H:%M:%S.%f")[:-3]
    details = "; ".join(f"{key}: {_shown(value)}" for key, value in event.data.items())
    return (event.event_id, time, event.agent_id or "-", event.event_type.value, details)


def _shown(value: JsonValue) -> str:
    return one_line(str(value), _WHAT_CHARS)
