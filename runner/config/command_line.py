"""What an agent may do in a container of its own: the keys of commands. Runs on: host."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue

from runner.config.network import NetworkMode, RawCredentials
from runner.config.problems import shown
from runner.config.secrets import REFERENCE
from runner.config.values import (
    NOT_YET,
    ConfigPart,
    NotYet,
    checked_image,
    checked_memory,
    is_active,
    wrong,
)


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise wrong(f"{shown(value)} is no regular expression ({error})") from error
    return value


Pattern = Annotated[str, Field(max_length=1000), AfterValidator(_pattern)]
Patterns = Annotated[tuple[Pattern, ...], Field(strict=False, max_length=200)]
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")


def _environment(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _VARIABLE.fullmatch(name):
            raise wrong(f"{shown(name)} is no name of a variable (allowed: letters, digits, _)")
        if REFERENCE.search(text):
            raise wrong(
                f"{name} refers to a variable of yours, which is not looked up here",
                "write the value; credentials are for runner.services",
            )
        if "\0" in text:
            raise wrong(f"{name} has a NUL character in its value")
    return value


def _no_root(value: JsonValue) -> JsonValue:
    """Refuse root in a container: it could leave set-uid programs of root in the workspace."""
    if is_active(value):
        raise wrong(
            f"is {NOT_YET}: root in the container would leave files of root on this machine",
            "install what needs root in an image, and name that in command_line_docker_image",
        )
    return value


NoRoot = Annotated[JsonValue, AfterValidator(_no_root), Field(json_schema_extra={"state": NOT_YET})]
Environment = Annotated[
    dict[str, Annotated[str, Field(max_length=32_768)]],
    Field(max_length=100),
    AfterValidator(_environment),
]


class CommandLine(ConfigPart):
    """Commands of an agent; they run in a container of its own, never on the host."""

    enable_mcp_command_line: bool = False
    """Lets the agent run commands in its container."""
    command_line_execution_mode: Literal["local", "docker"] = "docker"
    """Accepted for MassGen's sake: both mean the agent's own container."""
    command_line_docker_image: Annotated[str, AfterValidator(checked_image)] | None = None
    """Image of the agent's container; by default the run image."""
    command_line_docker_memory_limit: Annotated[str, AfterValidator(checked_memory)] = "1g"
    """The most memory that the agent's container may use."""
    command_line_docker_cpu_limit: Annotated[float, Field(ge=0.05, le=512)] | None = None
    """The most processors that the agent's container may use; by default one."""
    command_line_timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """How long a command may take that names no time limit."""
    command_line_env: Environment = Field(default_factory=dict)
    """Environment variables of the agent's commands. No place for credentials."""
    command_line_allowed_commands: Patterns = ()
    """Regular expressions, tried from a command's beginning: what none matches is refused.
    Guidance, no security."""
    command_line_blocked_commands: Patterns = ()
    """Regular expressions, tried from a command's beginning: what one matches is refused. Guidance,
    no security."""
    command_line_whitelist_patterns: Patterns = ()
    """The same as command_line_allowed_commands."""
    command_line_blacklist_patterns: Patterns = ()
    """The same as command_line_blocked_commands."""
    command_line_allowed_patterns: Patterns = ()
    """The same as command_line_allowed_commands."""
    command_line_blocked_patterns: Patterns = ()
    """The same as command_line_blocked_commands."""
    command_line_docker_network_mode: NetworkMode | None = None
    """`none`: nothing but models and services; `bridge`: all web sites, through the host's proxy;
    by default what `runner.network` allows."""
    command_line_docker_enable_sudo: NoRoot = None
    """Root for commands."""
    command_line_docker_credentials: RawCredentials | None = None
    """Credentials put into the agent's container; `runner.services` keeps them on the host."""
    command_line_docker_packages: NotYet = None
    """Packages installed for commands."""

    @property
    def raw_credentials(self) -> RawCredentials:
        return self.command_line_docker_credentials or RawCredentials()

    @property
    def allowed_commands(self) -> tuple[str, ...]:
        return (
            self.command_line_allowed_commands
            + self.command_line_whitelist_patterns
            + self.command_line_allowed_patterns
        )

    @property
    def blocked_commands(self) -> tuple[str, ...]:
        return (
            self.command_line_blocked_commands
            + self.command_line_blacklist_patterns
            + self.command_line_blocked_patterns
        )
