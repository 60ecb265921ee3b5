"""What coordination and an agent's tool server say to each other. Runs on: both sides.

Coordination listens on a socket of its own for each agent; the tool server, started in the agent's
container, connects to it. Either side sends frames: one JSON object a line. The tool server says
`Hello`, then answers each `Call` with any number of `Output` and one `Result`. What the tool server
says is hostile to coordination: an agent's programs can speak in its place.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, JsonValue, PositiveInt, TypeAdapter

TOOLS_DIR = "/run/runner/tools"
"""In the agent container, read-only: holds the socket on which coordination listens."""
AGENTS_DIR = "/run/runner/agents"
"""In the run container: holds a directory for each agent, which the agent's container has as
TOOLS_DIR."""
TOOLS_SOCKET = "tools.sock"
TOOLS_SPEC_PATH = "/run/runner/tools.json"
"""In the agent container, read-only: the `ToolServerSpec`."""

MCP_PREFIX = "mcp__"
"""Begins the names of tools of MCP servers, and of no others."""
MAX_FRAME_BYTES = 4 * 1024 * 1024
"""With its newline. A hostile frame of this size is parsed within 50 ms; pictures have to fit."""
MAX_HELLO_BYTES = 1024 * 1024
"""A `Hello` may hold JSON of any shape, which takes far longer to parse than text."""
MAX_IMAGES = 16
MAX_CALL_OUTPUT_BYTES = 1024 * 1024
"""Of all `Output` frames of one call: what goes beyond is not recorded, and need not be sent."""
MAX_RESULT_CHARS = 100_000
"""Of a result's text, as the model is given it; what is longer is cut in the middle."""


class ToolPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ToolDefinition(ToolPart):
    """A tool as a model is told of it."""

    name: str
    description: str
    parameters: dict[str, JsonValue]
    """JSON schema of the arguments: an object."""


class Hello(ToolPart):
    """The first frame of a tool server that is ready."""

    kind: Literal["hello"] = "hello"
    tools: Annotated[tuple[ToolDefinition, ...], FailFast()] = ()
    """Tools that are only known once the server runs: those of MCP servers."""
    problems: Annotated[tuple[str, ...], FailFast()] = ()
    """What could not be started, each in a sentence: an MCP server, for instance."""


class Call(ToolPart):
    kind: Literal["call"] = "call"
    id: PositiveInt
    tool: str
    arguments: dict[str, JsonValue]


class Cancel(ToolPart):
    """Nobody waits for this call any more: end what it started."""

    kind: Literal["cancel"] = "cancel"
    id: PositiveInt


class Output(ToolPart):
    """A piece of what a call prints while it runs, for the log."""

    kind: Literal["output"] = "output"
    id: PositiveInt
    text: str


class Image(ToolPart):
    """A picture that a tool returns to a model that sees."""

    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    data: str
    """Base64."""


class Result(ToolPart):
    kind: Literal["result"] = "result"
    id: PositiveInt
    text: str
    """What the model is told."""
    is_error: bool = False
    exit_code: int | None = None
    """Of a command that has ended."""
    images: Annotated[tuple[Image, ...], FailFast(), Field(max_length=MAX_IMAGES)] = ()


ToServer = Annotated[Call | Cancel, Field(discriminator="kind")]
Answer = Annotated[Output | Result, Field(discriminator="kind")]

TO_SERVER: TypeAdapter[Call | Cancel] = TypeAdapter(ToServer)
FROM_SERVER: TypeAdapter[Output | Result] = TypeAdapter(Answer)
"""What a tool server says after its `Hello`."""


def frame(message: Hello | Call | Cancel | Output | Result) -> bytes:
    """Return a message as it goes over the socket; the JSON holds no raw newline."""
    return message.model_dump_json().encode() + b"\n"


class CommandSettings(ToolPart):
    """How an agent's commands run."""

    allowed_patterns: tuple[str, ...] = ()
    """Regular expressions, one of which must match from the command's beginning; none: every
    command may run."""
    blocked_patterns: tuple[str, ...] = ()
    """Regular expressions, none of which may match from the command's beginning."""
    timeout_seconds: float = 60.0
    """Of a command that names none."""
    environment: dict[str, str] = {}
    """Added to the container's for each command."""
    memory_limit: str | None = None
    """The container's, in the user's words; for the explanation of a command's death."""


class McpServerSpec(ToolPart):
    """An MCP server that the tool server starts and talks to on its stdin and stdout."""

    name: str
    command: str
    """A program in the container."""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    """Absolute, or of the workspace, which it is by default."""
    allowed_tools: tuple[str, ...] | None = None
    """Patterns with * and ? for names, as the server has them or as `mcp__server__tool`; None:
    all."""
    exclude_tools: tuple[str, ...] = ()
    """Patterns as in `allowed_tools`."""
    startup_timeout_seconds: float = 60.0
    call_timeout_seconds: float = 300.0


class ToolServerSpec(ToolPart):
    """What a tool server is to serve: tools.json. It names nothing that the agent may not know."""

    schema_version: Literal[1] = 1
    agent_id: str
    workspace: str
    """Absolute; also the working directory."""
    answers: str
    """Absolute; others' snapshots, read-only."""
    context_paths: tuple[str, ...] = ()
    """Absolute; what the user shares with the agents, read-only until the presentation."""
    protected_paths: tuple[str, ...] = ()
    """Paths, absolute or of the workspace, that no file tool changes."""
    enforce_read_before_delete: bool = True
    """Files that the agent has neither read nor made are not deleted by a tool."""
    commands: CommandSettings | None = None
    """None: the agent runs no commands."""
    mcp_servers: tuple[McpServerSpec, ...] = ()
    allowed_tools: tuple[str, ...] | None = None
    """Patterns for names such as `mcp__server__tool`, for the tools of all MCP servers; None: all.
    Which built-in tools are offered is not said here: coordination knows."""
    exclude_tools: tuple[str, ...] = ()
    """Patterns as in `allowed_tools`."""
