"""The numbered, dated list behind coordination_events.json. Runs on: the run container."""

from runner.contract.events import Event
from runner.coordination.state import Happened
from runner.coordination.table import Table


class EventsLog:
    """The events of one run; each is rendered once, however often the files are replaced."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._table = Table()

    def add(self, happened: Happened, now: float) -> None:
        """Take one more event, numbered after the last."""
        event = Event(
            event_id=f"E{len(self._parts) + 1}",
            timestamp=now,
            agent_id=happened.agent_id,
            event_type=happened.type,
            data=happened.data,
        )
        self._parts.append(event.model_dump_json(indent=2).encode().replace(b"\n", b"\n  "))
        self._table.add(event)

    def json(self) -> bytes:
        """Return coordination_events.json: a list, whole at every instant."""
        return b"[\n  " + b",\n  ".join(self._parts) + b"\n]" if self._parts else b"[]"

    def table(self) -> bytes:
        """Return coordination_table.txt."""
        return self._table.text().encode()
