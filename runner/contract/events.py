"""Entries of coordination_events.json. Runs on: both sides."""

import enum

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class EventType(enum.StrEnum):
    STARTED_STREAMING = "started_streaming"
    NEW_ANSWER = "new_answer"
    VOTE = "vote"
    RESTART = "restart"
    RESTART_COMPLETED = "restart_completed"
    FINAL_ANSWER = "final_answer"
    ERROR = "error"
    TIMEOUT = "timeout"
    TOOL_CALL = "tool_call"
    NESTED_RUN = "nested_run"


class Event(BaseModel):
    """One thing that happened; `event_id` counts E1, E2, … within a run."""

    model_config = ConfigDict(frozen=True)

    event_id: str = Field(pattern=r"^E[1-9][0-9]*$")
    timestamp: float
    agent_id: str | None
    event_type: EventType
    data: dict[str, JsonValue] = Field(default_factory=dict)
