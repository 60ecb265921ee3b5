"""The keys of agents' commands. Runs on: host."""

from pathlib import Path

import pytest

from tests.config.loading import agent, load, problems

BACKEND = "type: openai, model: m, cwd: w, enable_mcp_command_line: true"


def test_patterns_under_all_their_names(tmp_path: Path) -> None:
    """Patterns under MassGen's names and under the guide's are taken together."""
    more = (
        "command_line_allowed_commands: [a], command_line_whitelist_patterns: [b], "
        "command_line_allowed_patterns: [c], command_line_blocked_commands: [d], "
        "command_line_blacklist_patterns: [e], command_line_blocked_patterns: [f]"
    )
    [found] = load(tmp_path, agent(f"{BACKEND}, {more}")).config.agents
    assert found.backend.allowed_commands == ("a", "b", "c")
    assert found.backend.blocked_commands == ("d", "e", "f")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("command_line_allowed_commands: ['(']", "is no regular expression"),
        ("command_line_timeout_seconds: 0", "command_line_timeout_seconds"),
        ("command_line_env: {A-B: x}", "'A-B' is no name of a variable"),
        ('command_line_env: {A: "${HOME}"}', "A refers to a variable of yours"),
        ("command_line_env: {MY_TOKEN: verysecretvalue}", "MY_TOKEN"),
        ("command_line_docker_enable_sudo: true", "install what needs root in an image"),
    ],
)
def test_what_is_wrong(more: str, said: str, tmp_path: Path) -> None:
    """A value that cannot be carried out is named with what to do."""
    [problem] = problems(tmp_path, agent(f"{BACKEND}, {more}"))
    assert said in problem


def test_no_root_is_fine(tmp_path: Path) -> None:
    """A configuration that asks for no root is accepted."""
    assert not problems(tmp_path, agent(f"{BACKEND}, command_line_docker_enable_sudo: false"))
