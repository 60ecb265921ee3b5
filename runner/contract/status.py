"""The model of status.json. Runs on: both sides.

Field names and meanings are the automation guide's; what it leaves open is added beside them.
All fields are always present, null where nothing is known yet.
"""

import enum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from runner.contract.outcome import RunOutcome
from runner.contract.usage import RunUsage

SCHEMA_VERSION = 1
ANSWER_PREVIEW_CHARS = 200
REASON_PREVIEW_CHARS = 100


class Phase(enum.StrEnum):
    INITIAL_ANSWER = "initial_answer"
    ENFORCEMENT = "enforcement"
    PRESENTATION = "presentation"


class AgentStatus(enum.StrEnum):
    WAITING = "waiting"
    STREAMING = "streaming"
    ANSWERED = "answered"
    VOTED = "voted"
    RESTARTING = "restarting"
    ERROR = "error"
    TIMEOUT = "timeout"
    COMPLETED = "completed"


class AgentErrorType(enum.StrEnum):
    """The closed list of reasons for which an agent can fail."""

    TIMEOUT = "timeout"
    AUTHENTICATION = "authentication"
    RATE_LIMIT = "rate_limit"
    PROVIDER = "provider"
    BUDGET = "budget"
    PROTOCOL = "protocol"
    TOOL = "tool"
    INTERNAL = "internal"


class StatusPart(BaseModel):
    """Readers accept fields that a newer writer added."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", json_schema_serialization_defaults_required=True
    )


class AgentError(StatusPart):
    type: AgentErrorType
    message: str
    """One line, never a secret."""
    timestamp: float


class VoteCast(StatusPart):
    voted_for_agent: str
    voted_for_label: str
    reason_preview: str


class ToolInUse(StatusPart):
    name: str
    since: float
    """Epoch seconds."""


class AgentState(StatusPart):
    status: AgentStatus = AgentStatus.WAITING
    answer_count: int = 0
    latest_answer_label: str | None = None
    vote_cast: VoteCast | None = None
    times_restarted: int = 0
    last_activity: float | None = None
    error: AgentError | None = None
    tool: ToolInUse | None = None
    """The one that the agent is using, the latest where there are several."""


class Meta(StatusPart):
    last_updated: float
    session_id: str
    log_dir: str
    question: str
    start_time: float
    elapsed_seconds: float = 0.0
    schema_version: int = SCHEMA_VERSION
    run_id: str
    parent_run_id: str | None = None
    root_run_id: str
    depth: int = 0
    image: str | None = None
    outcome: RunOutcome | None = None
    is_complete: bool = False
    finish_reason: str | None = None
    finish_reason_details: str | None = None


class Coordination(StatusPart):
    phase: Phase = Phase.INITIAL_ANSWER
    active_agent: str | None = None
    completion_percentage: int = Field(default=0, ge=0, le=100)
    is_final_presentation: bool = False


class Results(StatusPart):
    votes: dict[str, int] = Field(default_factory=dict)
    winner: str | None = None
    final_answer_preview: str | None = None


class NestedRun(StatusPart):
    run_id: str
    log_dir: str
    state: Literal["created", "running", "exited"]
    exit_code: int | None = None
    cost_usd: float | None = None


class Status(StatusPart):
    """The whole of status.json."""

    meta: Meta
    coordination: Coordination = Coordination()
    agents: dict[str, AgentState]
    results: Results = Results()
    usage: RunUsage = RunUsage()
    nested: tuple[NestedRun, ...] = ()


def status_schema() -> dict[str, JsonValue]:
    """Return the published JSON schema of status.json, with every field required."""
    schema: dict[str, JsonValue] = Status.model_json_schema(mode="serialization")
    schema["$id"] = f"massgen-runner/status/{SCHEMA_VERSION}"
    return schema
