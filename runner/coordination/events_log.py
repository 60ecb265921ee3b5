"""The numbered, dated list behind coordination_events.json. Runs on: the run container."""

from pydantic import TypeAdapter

from runner.contract.events import Event
from runner.coordination.state import Happened

_EVENTS: TypeAdapter[tuple[Event, ...]] = TypeAdapter(tuple[Event, ...])


def numbered(events: tuple[Event, ...], happened: Happened, now: float) -> tuple[Event, ...]:
    """Return `events` with one more, numbered after the last."""
    event = Event(
        event_id=f"E{len(events) + 1}",
        timestamp=now,
        agent_id=happened.agent_id,
        event_type=happened.type,
        data=happened.data,
    )
    return (*events, event)


def events_json(events: tuple[Event, ...]) -> bytes:
    """Return coordination_events.json: a list, whole at every instant."""
    return _EVENTS.dump_json(events, indent=2)
