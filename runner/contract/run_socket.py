"""What is said over the run socket: paths, headers and errors of the gateway. Runs on: both sides.

A request's path names the agent; the host knows the provider, its address and its credential.
The body is the provider's own (OpenAI Chat Completions or Anthropic Messages) and goes through.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from runner.contract.spec import Dialect
from runner.contract.status import AgentErrorType

USAGE_PATH = "/usage"
"""GET: the run's `RunUsage` so far."""

MODEL_PATHS: dict[Dialect, str] = {"chat": "v1/chat/completions", "messages": "v1/messages"}

MAX_REQUEST_BYTES = 32 * 1024 * 1024
MAX_RESPONSE_BYTES = 64 * 1024 * 1024


def model_path(agent_id: str, dialect: Dialect) -> str:
    """Return the path of an agent's model calls, e.g. `/agents/agent_a/v1/chat/completions`."""
    return f"/agents/{agent_id}/{MODEL_PATHS[dialect]}"


def container_path(agent_id: str) -> str:
    """Return the path of requests about an agent's container; see `ContainerRequest`."""
    return f"/agents/{agent_id}/container"


ContainerAction = Literal["start", "replace", "pause", "resume"]

HOLD_SECONDS = 60.0
"""For how long `pause` holds; the host lets go by itself where it is not asked again."""


class ContainerRequest(BaseModel):
    """POST body: what coordination wants of an agent's container."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    action: ContainerAction
    """`start`: make it where it is not there. `replace`: its tool server is gone; say why, and make
    it anew. `pause`: hold everything in it still for HOLD_SECONDS, for a snapshot, where it
    runs; `resume`: let go."""


class ContainerReply(BaseModel):
    """Status 200: done. Refusals are a `GatewayError` of type tool."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    death: str | None = None
    """Why the container before this one ended, in a sentence for the agent."""


class GatewayError(BaseModel):
    """Body `{"error": {...}}` of every refusal that the gateway itself writes (status ≥ 400)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: AgentErrorType
    message: str
    """One line for people: what happened, which provider, what to do. Never a secret."""
    status: int | None = None
    """The provider's HTTP status, if it answered."""


class GatewayErrorBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    error: GatewayError
