"""What a run container is to do: spec.json, mounted read-only. Runs on: both sides.

It names agents and settings; never a credential or an address, and no host path but LOG_DIR.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, PositiveFloat, PositiveInt

SPEC_PATH = "/run/runner/spec.json"
SOCKET_DIR = "/run/runner/socket"
SOCKET_NAME = "run.sock"
SOCKET_PATH = f"{SOCKET_DIR}/{SOCKET_NAME}"
ANSWERS_DIR = "/run/runner/answers"
"""Where coordination puts the latest snapshots of all agents, for the agents to read."""

Dialect = Literal["chat", "messages"]
"""Wire format of model calls: OpenAI Chat Completions or Anthropic Messages."""

DecisionMode = Literal["tools", "json_schema"]
"""How a model states new_answer or vote."""


class SpecPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AgentTools(SpecPart):
    """What an agent can do besides talking: tools, carried out in a container of its own."""

    workspace: str
    """Absolute; the same path on the host and in both containers."""
    answers: str
    """Absolute in the agent's container; the latest snapshots of all agents, read-only."""
    names: tuple[str, ...]
    """Built-in tools that it is offered."""
    context_paths: tuple[str, ...] = ()
    """Absolute; the user's files that it sees, read-only."""
    disk_bytes: PositiveInt = 10 * 1024**3
    """What its workspace may hold."""
    is_asked: bool = False
    """Its tool server knows of more tools: those of MCP servers."""
    ready_seconds: PositiveFloat = 30.0
    """How long its tool server may take until it is ready."""
    max_steps: PositiveInt = 50
    """Replies with tool calls that are carried out in one turn."""
    max_result_chars: PositiveInt = 1_000_000
    """What the tools may return in one turn, in characters."""
    call_seconds: PositiveFloat = 900.0
    """How long a call may take that names no time limit of its own."""


class AgentSpec(SpecPart):
    id: str
    model: str
    dialect: Dialect = "chat"
    decision_mode: DecisionMode = "tools"
    system_message: str | None = None
    params: dict[str, JsonValue] = {}
    """Sampling parameters, passed on under the provider's names (temperature, max_tokens, …)."""
    forced_tool_choice: bool = True
    """The provider takes `tool_choice: required` (chat) or `any` (messages)."""
    stream_usage: bool = True
    """The provider takes `stream_options: {include_usage: true}` (chat only)."""
    context_tokens: PositiveInt | None = None
    """The most that the model can read and write in one call; None: not known."""
    tools: AgentTools | None = None
    """None: the agent only talks."""


class CoordinationSpec(SpecPart):
    voting_sensitivity: Literal["lenient", "balanced", "strict"] = "lenient"
    answer_novelty_requirement: Literal["lenient", "balanced", "strict"] = "lenient"
    max_new_answers_per_agent: PositiveInt = 5
    skip_coordination_rounds: bool = False
    orchestrator_timeout_seconds: PositiveFloat = 1800.0
    agent_timeout_seconds: PositiveFloat | None = None


class RunSpec(SpecPart):
    schema_version: Literal[1] = 1
    run_id: str
    parent_run_id: str | None = None
    root_run_id: str
    depth: int = 0
    session_id: str
    log_dir: str
    """Absolute; the same path on the host and in the container."""
    question: str
    start_time: float
    """Epoch seconds at which the command started, on the host's clock."""
    deadline: float
    """Epoch seconds at which the orchestrator's time is over, on the host's clock."""
    image: str | None = None
    agents: tuple[AgentSpec, ...]
    coordination: CoordinationSpec = CoordinationSpec()
    debug: bool = False
