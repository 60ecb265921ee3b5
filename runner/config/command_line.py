"""What an agent may do in a container of its own: the keys of commands. Runs on: host."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from runner.config.network import NetworkMode, RawCredentials
from runner.config.problems import shown
from runner.config.values import ConfigPart, NotYet, checked_image, checked_memory, wrong


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise wrong(f"{shown(value)} is no regular expression ({error})") from error
    return value


Pattern = Annotated[str, Field(max_length=1000), AfterValidator(_pattern)]
Patterns = Annotated[tuple[Pattern, ...], Field(strict=False, max_length=200)]


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
    command_line_whitelist_patterns: Patterns = ()
    """Regular expressions: a command that none of them finds is refused. Guidance, no security."""
    command_line_blacklist_patterns: Patterns = ()
    """Regular expressions: a command that one of them finds is refused. Guidance, no security."""
    command_line_allowed_patterns: Patterns = ()
    """The same as command_line_whitelist_patterns."""
    command_line_blocked_patterns: Patterns = ()
    """The same as command_line_blacklist_patterns."""
    command_line_docker_network_mode: NetworkMode | None = None
    """`none`: nothing but models and services; `bridge`: all web sites, through the host's proxy;
    by default what `runner.network` allows."""
    command_line_docker_enable_sudo: NotYet = None
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
        return self.command_line_whitelist_patterns + self.command_line_allowed_patterns

    @property
    def blocked_commands(self) -> tuple[str, ...]:
        return self.command_line_blacklist_patterns + self.command_line_blocked_patterns
