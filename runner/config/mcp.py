"""MCP servers of an agent; they run in its container, never on the host. Runs on: host."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from runner.config.command_line import Environment
from runner.config.problems import shown
from runner.config.secrets import REFERENCE
from runner.config.values import NOT_YET, ConfigPart, NotYet, wrong
from runner.contract.tools import McpServerSpec

_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9-]){0,31}")
_BUILT_IN = ("filesystem", "workspace_tools", "command_line")
"""MassGen has its own tools in servers of these names; here they are built in."""


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        allowed = "a letter, then at most 31 letters, digits, - or single _"
        raise wrong(f"{shown(value)} is no name of a server (allowed: {allowed})")
    if value.lower() in _BUILT_IN:
        what = f"{value} is built in here: cwd gives files, enable_mcp_command_line commands"
        raise wrong(what, "take the server out, or rename it")
    return value


def _type(value: str) -> str:
    if value != "stdio":
        what = f"{value} is {NOT_YET}: a server is started in the agent's container"
        raise wrong(f"{what} (allowed: stdio)", "name its command, or offer its API as a service")
    return value


def _plain(value: str) -> str:
    if "\0" in value:
        raise wrong("has a NUL character in it")
    if REFERENCE.search(value):
        raise wrong(
            "refers to a variable of yours, which is not looked up here",
            "write the value; credentials are for runner.services",
        )
    return value


def _command(value: str) -> str:
    if " " in value.strip():
        what = f"{shown(value)} is more than a program"
        raise wrong(what, "write what follows the program into args: [...]")
    return _plain(value)


def _distinct(servers: "tuple[McpServerConfig, ...]") -> "tuple[McpServerConfig, ...]":
    seen: set[str] = set()
    for server in servers:
        if server.name.lower() in seen:
            raise wrong(f"two servers are called {server.name}", "give each its own name")
        seen.add(server.name.lower())
    return servers


Pattern = Annotated[str, Field(min_length=1, max_length=256)]
Patterns = Annotated[tuple[Pattern, ...], Field(strict=False, max_length=500)]
Argument = Annotated[str, Field(max_length=32_768), AfterValidator(_plain)]


class McpServerConfig(ConfigPart):
    """One MCP server."""

    name: Annotated[str, AfterValidator(_name)]
    """The agent has the server's tools as `mcp__NAME__TOOL`."""
    type: Annotated[Literal["stdio", "streamable-http"], AfterValidator(_type)] = "stdio"
    """`stdio`: a program that is started in the agent's container; `streamable-http` is not
    available yet."""
    command: Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_command)]
    """The program, in the image of the agent's container."""
    args: Annotated[tuple[Argument, ...], Field(strict=False, max_length=200)] = ()
    """Its arguments."""
    env: Environment = Field(default_factory=dict)
    """Environment variables of the program. No place for credentials."""
    allowed_tools: Patterns | None = None
    """The only tools that the agent gets, as the server calls them or as patterns; by default
    all."""
    exclude_tools: Patterns = ()
    """Tools that the agent does not get."""
    startup_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 60.0
    """How long the server may take until it is ready."""
    call_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 300.0
    """How long a call may take."""
    url: NotYet = None
    """Address of a server that runs already."""
    headers: NotYet = None
    """Headers for such a server."""

    @property
    def spec(self) -> McpServerSpec:
        """Return what the tool server is told."""
        return McpServerSpec(
            name=self.name,
            command=self.command,
            args=self.args,
            env=self.env,
            allowed_tools=self.allowed_tools,
            exclude_tools=self.exclude_tools,
            startup_timeout_seconds=self.startup_timeout_seconds,
            call_timeout_seconds=self.call_timeout_seconds,
        )


McpServers = Annotated[
    tuple[McpServerConfig, ...], Field(strict=False, max_length=20), AfterValidator(_distinct)
]
