"""What an agent's container and the host agree on: sockets, ports, paths. Runs on: both sides.

The host mounts a directory with the agent's sockets; a forwarder in the container makes them
reachable as addresses, which is what programs and SDKs can be told. Having the directory mounted
is the identity: no key is needed, and any that is sent is dropped.
"""

from typing import Literal, NamedTuple

from runner.contract.spec import SOCKET_DIR

AgentDialect = Literal["chat", "messages", "gemini"]
"""What an agent's programs may speak: a dialect of coordination, or Gemini's own API."""

AGENT_SOCKET_NAME = "agent.sock"
"""HTTP, served by the gateway: the agent's model and services."""
EGRESS_SOCKET_NAME = "egress.sock"
"""An HTTP proxy to the addresses that the run may reach; only where there are any."""

LOOPBACK = "127.0.0.1"
AGENT_PORT = 8700
EGRESS_PORT = 8701

CHAT_PATH = "/v1/chat/completions"
MESSAGES_PATH = "/anthropic/v1/messages"
GEMINI_PATH = "/gemini/v1beta/models"
GEMINI_PATHS = (GEMINI_PATH, "/gemini/v1/models")
"""Google's SDKs differ in the version that they ask for; the host calls the configured one."""
SERVICES_PATH = "/services"

AGENT_URL = f"http://{LOOPBACK}:{AGENT_PORT}"
EGRESS_URL = f"http://{LOOPBACK}:{EGRESS_PORT}"


class Forward(NamedTuple):
    """A port of the container's loopback, and the socket behind it."""

    port: int
    socket: str


FORWARDS = (
    Forward(AGENT_PORT, f"{SOCKET_DIR}/{AGENT_SOCKET_NAME}"),
    Forward(EGRESS_PORT, f"{SOCKET_DIR}/{EGRESS_SOCKET_NAME}"),
)
