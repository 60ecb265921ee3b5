"""What the tools of MCP servers are called. Runs on: the agent container."""

import hashlib
import re
from collections.abc import Container, Iterable
from fnmatch import fnmatchcase

from runner.contract.tools import MCP_PREFIX, McpServerSpec, ToolServerSpec

_MAX_CHARS = 64
_HASH_CHARS = 8
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


def full_name(server: str, tool: str) -> str:
    """Return `mcp__server__tool` as configurations write it; a provider may not take it."""
    return f"{MCP_PREFIX}{server}__{tool}"


def offered_name(server: str, tool: str, taken: Container[str]) -> str:
    """Return a name that every provider takes and that is not taken; empty if there is none."""
    whole = full_name(server, tool)
    plain = _UNFIT.sub("_", whole)
    if len(plain) <= _MAX_CHARS and plain not in taken:
        return plain
    digest = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:_HASH_CHARS]
    marked = f"{plain[: _MAX_CHARS - _HASH_CHARS - 1]}_{digest}"
    return "" if marked in taken else marked


def is_wanted(agent: ToolServerSpec, server: McpServerSpec, tool: str) -> bool:
    """Tell whether an agent's and its server's settings both let it have a server's tool."""
    whole = full_name(server.name, tool)
    known = {whole, _UNFIT.sub("_", whole)}
    return _passes(agent, known) and _passes(server, known | {tool})


def not_there(spec: McpServerSpec, tools: Iterable[str]) -> list[str]:
    """Return the patterns of allowed tools that fit none of a server's."""
    names = [{tool, full_name(spec.name, tool)} for tool in tools]
    allowed = spec.allowed_tools or ()
    return [pattern for pattern in allowed if not any(_fits(pattern, known) for known in names)]


def _passes(choice: ToolServerSpec | McpServerSpec, names: set[str]) -> bool:
    allowed = choice.allowed_tools
    if allowed is not None and not any(_fits(pattern, names) for pattern in allowed):
        return False
    return not any(_fits(pattern, names) for pattern in choice.exclude_tools)


def _fits(pattern: str, names: set[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)
