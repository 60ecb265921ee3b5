"""Which tools an agent is offered."""

from pathlib import Path

import pytest

from runner.config.specs import tool_names
from runner.contract.command_tools import COMMAND_TOOLS
from runner.contract.file_tools import FILE_TOOLS
from tests.config.loading import agent, load, problems

FILES = tuple(tool.name for tool in FILE_TOOLS)
COMMANDS = tuple(tool.name for tool in COMMAND_TOOLS)


def offered(tmp_path: Path, keys: str) -> tuple[str, ...]:
    text = agent(f"type: openai, model: m, {keys}")
    return tool_names(load(tmp_path, text).config.agents[0].backend)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("cwd: w", FILES),
        ("enable_mcp_command_line: true", COMMANDS),
        ("cwd: w, enable_mcp_command_line: true", (*FILES, *COMMANDS)),
        ("cwd: w, allowed_tools: [write_file, 'read_text*']", ("read_text_file", "write_file")),
        ("cwd: w, allowed_tools: ['*_file'], exclude_tools: ['[!r]*']", (
            "read_text_file",
            "read_media_file",
        )),
        ("cwd: w, allowed_tools: []", ()),
        ("cwd: w, allowed_tools: [mcp__filesystem__write_file]", ("write_file",)),
        ("cwd: w, exclude_tools: ['mcp__search__*']", FILES),
    ],
)  # fmt: skip
def test_tools_are_chosen_by_name_and_pattern(
    keys: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    """Settings give tools, and the choice leaves some of them out."""
    assert offered(tmp_path, keys) == expected


def test_an_unknown_tool_is_named_with_the_nearest(tmp_path: Path) -> None:
    """A name or pattern that fits no tool is an error, at its place in the list."""
    text = agent("type: openai, model: m, cwd: w, exclude_tools: [write_flie], allowed_tools: [x*]")
    first, second = problems(tmp_path, text)
    assert first.startswith("c.yaml:3: agents.0.backend.exclude_tools.0: 'write_flie' is no tool")
    assert first.endswith("did you mean 'write_file'?")
    assert "allowed_tools.0: 'x*' is no tool" in second
