"""MCP servers as a user writes them."""

from pathlib import Path

import pytest

from runner.config.load import LoadedConfig
from runner.contract.tools import McpServerSpec
from tests.config.loading import agent, load, problems


def backend(servers: str) -> str:
    return agent(f"type: openai, model: m, mcp_servers: {servers}")


def specs(loaded: LoadedConfig) -> list[McpServerSpec]:
    return [server.spec for server in loaded.config.agents[0].backend.mcp_servers]


def test_a_server_is_told_to_the_container(tmp_path: Path) -> None:
    """What is written reaches the tool server, and an agent with a server acts."""
    keys = "name: time, command: mcp-server-time, args: [--local-timezone, UTC], env: {A: b}"
    loaded = load(tmp_path, backend(f"[{{{keys}, exclude_tools: ['*_zone']}}]"))
    assert loaded.config.agents[0].backend.acts
    assert specs(loaded) == [
        McpServerSpec(
            name="time",
            command="mcp-server-time",
            args=("--local-timezone", "UTC"),
            env={"A": "b"},
            exclude_tools=("*_zone",),
        )
    ]


def test_a_mapping_means_the_same_as_a_list(tmp_path: Path) -> None:
    """MassGen's other form, name to server, is the list of its servers."""
    listed = load(tmp_path, backend("[{name: a1, command: x}, {name: b1, command: y}]"))
    mapped = load(tmp_path, backend("{a1: {type: stdio, command: x}, b1: {command: y}}"))
    assert specs(mapped) == specs(listed)
    assert mapped.resolved == listed.resolved


def test_a_mistake_in_a_mapping_has_its_line(tmp_path: Path) -> None:
    """A problem of a server is shown where the server stands."""
    text = """\
agents:
  - id: a
    backend:
      type: openai
      model: m
      mcp_servers:
        one: {command: x}
        two:
          comand: y
"""
    first, second = problems(tmp_path, text)
    assert first.startswith(
        "c.yaml:8: agents.0.backend.mcp_servers.1.command: is missing: name the program"
    )
    assert second.startswith("c.yaml:9: agents.0.backend.mcp_servers.1.comand: is not a known key")
    assert second.endswith("did you mean 'command'?")


@pytest.mark.parametrize(
    ("server", "key", "said"),
    [
        ("name: x, command: npx -y z", "command", "is more than a program"),
        ("name: x, command: y, args: ['${HOME}']", "args.0", "which is not looked up here"),
        ("name: x, command: y, env: {A: '${B}'}", "env", "credentials are for runner.services"),
        ("name: a__b, command: y", "name", "is no name of a server"),
        ("name: 1, command: y", "name", "must be text"),
        ("name: filesystem, command: y", "name", "is built in here"),
        ("name: x, type: sse, command: y", "type", "(allowed: stdio, streamable-http)"),
        ("name: x, type: streamable-http, command: y", "type", "is not available yet"),
        ("name: x, command: y, url: 'http://h'", "url", "is not available yet"),
        ("name: x, command: y, call_timeout_seconds: 9999", "call_timeout_seconds", "0 to 600"),
    ],
)
def test_mistakes(server: str, key: str, said: str, tmp_path: Path) -> None:
    """Each mistake is named at its key, with what is allowed or what to do."""
    found = problems(tmp_path, backend(f"[{{{server}}}]"))
    assert len(found) == 1, found
    assert found[0].startswith(f"c.yaml:3: agents.0.backend.mcp_servers.0.{key}: ")
    assert said in found[0]


def test_a_server_without_a_command_is_told_what_is_missing(tmp_path: Path) -> None:
    """One that runs elsewhere is told that this is not available yet, too."""
    found = " ".join(
        problems(tmp_path, backend("[{name: x, type: streamable-http, url: 'http://h'}]"))
    )
    assert (
        "mcp_servers.0.command: is missing: name the program that is started in the agent's"
        in found
    )
    assert "type: streamable-http is not available yet" in found
    assert "url: is not available yet" in found


def test_two_servers_of_one_name(tmp_path: Path) -> None:
    """Names tell servers apart, capitals do not."""
    (problem,) = problems(tmp_path, backend("[{name: x, command: y}, {name: X, command: z}]"))
    assert "two servers are called X: give each its own name" in problem


def test_a_secret_in_a_server_is_refused(tmp_path: Path) -> None:
    """A credential is named by its place and shown nowhere."""
    key = "sk-proj-" + "a1" * 20
    found = problems(tmp_path, backend(f"[{{name: x, command: y, args: ['{key}']}}]"))
    assert any("args.0: has a literal secret in it" in line for line in found)
    assert not any(key in line for line in found)
