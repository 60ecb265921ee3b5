"""Which tools an agent is offered, of those that its other settings give it. Runs on: host."""

from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, Field

from runner.config.problems import nearest, shown
from runner.config.values import ConfigPart, wrong

_OF_MASSGEN = ("mcp__filesystem__", "mcp__workspace_tools__", "mcp__command_line__")
"""Under these names MassGen's agents have what is built in here."""


def _tool(value: str) -> str:
    from runner.contract.builtin_tools import BUILTIN_TOOLS  # a start without a choice needs none

    names = tuple(BUILTIN_TOOLS)
    for prefix in _OF_MASSGEN:
        value = value.removeprefix(prefix)
    if value.startswith("mcp__") or any(fnmatchcase(name, value) for name in names):
        return value
    known = "a built-in tool, mcp__SERVER__TOOL, or a pattern with * and ?"
    raise wrong(f"{shown(value)} is no tool (allowed: {known})", nearest(value, names))


ToolPattern = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_tool)]
ToolPatterns = Annotated[tuple[ToolPattern, ...], Field(strict=False, max_length=500)]


class ToolChoice(ConfigPart):
    """The choice of tools, and what they insist on."""

    exclude_tools: ToolPatterns = ()
    """Tools that the agent is not offered: names, or patterns such as `mcp__search__*`."""
    allowed_tools: ToolPatterns | None = None
    """The only tools that the agent is offered, as names or patterns; by default all."""
    enforce_read_before_delete: bool = True
    """`delete_file` refuses files that the agent has neither read nor made."""

    def offers(self, name: str) -> bool:
        """Tell whether the agent is offered a tool that it could have."""
        is_allowed = self.allowed_tools is None or _is_in(name, self.allowed_tools)
        return is_allowed and not _is_in(name, self.exclude_tools)


def _is_in(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
