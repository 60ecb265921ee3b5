"""What the tools of MCP servers are called, and which an agent has."""

import pytest

from runner.contract.tools import McpServerSpec, ToolServerSpec
from runner.tools.mcp.names import is_wanted, offered_name

LONG = "t" * 80


@pytest.mark.parametrize(
    ("server", "agent", "expected"),
    [
        ({}, {}, True),
        ({"allowed_tools": ("look.up",)}, {}, True),
        ({"allowed_tools": ("mcp__s__look.up",)}, {}, True),
        ({"allowed_tools": ("other",)}, {}, False),
        ({"allowed_tools": ()}, {}, False),
        ({"exclude_tools": ("look*",)}, {}, False),
        ({"allowed_tools": ("look.up",)}, {"exclude_tools": ("mcp__s__look_up",)}, False),
        ({}, {"exclude_tools": ("mcp__s__look.up",)}, False),
        ({}, {"exclude_tools": ("look*",)}, True),
        ({}, {"allowed_tools": ("mcp__s__*",)}, True),
        ({}, {"allowed_tools": ("look.up", "write_file")}, False),
        ({"exclude_tools": ("*",)}, {"allowed_tools": ("mcp__*",)}, False),
    ],
)
def test_both_the_server_and_the_agent_choose(
    server: dict[str, tuple[str, ...]], agent: dict[str, tuple[str, ...]], expected: bool
) -> None:
    """A server's patterns fit its names, an agent's fit whole names; both have to let it be."""
    spec = McpServerSpec.model_validate({"name": "s", "command": "c", **server})
    whole = {"agent_id": "a", "workspace": "/w", "answers": "/a", **agent}
    assert is_wanted(ToolServerSpec.model_validate(whole), spec, "look.up") is expected


def test_a_long_name_is_cut_and_stays_its_own() -> None:
    """Names beyond what providers take end in a hash of the whole; a name that is there is none."""
    first, second = (offered_name("s", LONG + end, ()) for end in "ab")
    assert {len(first), len(second)} == {64}
    assert first != second
    assert offered_name("s", LONG + "a", {first}) == ""
