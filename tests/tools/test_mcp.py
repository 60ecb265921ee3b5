"""MCP servers that an agent's tool server starts: their tools, and what goes wrong."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.contract.tools import MAX_RESULT_CHARS, McpServerSpec
from tests.support import odd_mcp_server
from tests.support.tool_server import ToolServer, tool_server

ODD = str(Path(odd_mcp_server.__file__))


def odd(*args: str, name: str = "odd", **fields: Any) -> McpServerSpec:
    return McpServerSpec(name=name, command=sys.executable, args=(ODD, *args), **fields)


def published(name: str, *args: str) -> McpServerSpec:
    module = f"mcp_server_{name}"
    return McpServerSpec(name=name, command=sys.executable, args=("-m", module, *args))


def offered(server: ToolServer) -> list[str]:
    return [tool.name for tool in server.hello.tools]


def test_published_servers_work(tmp_path: Path) -> None:
    """Servers that others published are started side by side, and what they offer works."""
    servers = (published("time", "--local-timezone", "UTC"), published("git"))
    with tool_server(tmp_path, mcp_servers=servers) as server:
        assert server.hello.problems == ()
        [definition] = [t for t in server.hello.tools if t.name == "mcp__time__convert_time"]
        assert definition.parameters["required"] == ["source_timezone", "time", "target_timezone"]
        done = server.call(
            "mcp__time__convert_time",
            source_timezone="Asia/Tokyo",
            time="12:00",
            target_timezone="UTC",
        )
        assert "T03:00:00+00:00" in done.text
        assert not done.result.is_error
        refused = server.call("mcp__git__git_status", repo_path="/nonexistent")
        assert refused.result.is_error


def test_what_a_server_starts_with(tmp_path: Path) -> None:
    """A server works in the workspace, with its own variables and without the tool server's."""
    with tool_server(tmp_path, mcp_servers=(odd(env={"LEVEL": "7"}),)) as server:
        found = json.loads(server.call("mcp__odd__environment").text)
    assert (found["cwd"], found["LEVEL"]) == (str(tmp_path), "7")
    assert [name for name in found if name.startswith("RUNNER_TOOLS_")] == []


def test_texts_images_and_the_rest(tmp_path: Path) -> None:
    """A result's texts and fit images reach the agent; what it cannot see is named."""
    with tool_server(tmp_path, mcp_servers=(odd(),)) as server:
        shown = server.call("mcp__odd__show")
        failed = server.call("mcp__odd__fail")
        described = server.call("mcp__odd__describe")
    assert [image.media_type for image in shown.result.images] == ["image/png"]
    assert shown.text.startswith("a picture:\n[an image is left out: image/svg+xml is not one of")
    assert "it is no base64" in shown.text
    assert "[resource note://1]\na note" in shown.text
    assert (failed.text, failed.result.is_error) == ("it did not work", True)
    assert json.loads(described.text) == {"degrees": 21}


def test_names_are_fit_for_every_provider(tmp_path: Path) -> None:
    """Names that a provider would refuse are changed, and stay different from each other."""
    with tool_server(tmp_path, mcp_servers=(odd(allowed_tools=("odd?name",)),)) as server:
        first, second = offered(server)
        assert first == "mcp__odd__odd_name"
        assert second.startswith("mcp__odd__odd_name_")
        assert server.call(second).text == "odd.name: {}"


def test_schemas_that_no_model_can_have(tmp_path: Path) -> None:
    """A tool whose schema is wrong, enormous or becomes so is left out alone, and named."""
    with tool_server(tmp_path, mcp_servers=(odd(),)) as server:
        names, problems = offered(server), " ".join(server.hello.problems)
    for name in ("bomb", "deep", "elsewhere", "nonsense", "enormous", "wordy"):
        assert f"mcp__odd__{name}" not in names
        assert f"the tool {name} of the MCP server odd has " in problems
    assert {"mcp__odd__tree", "mcp__odd__echo"} <= set(names)
    assert "takes no object" not in problems


def test_a_list_without_end_is_cut(tmp_path: Path) -> None:
    """An agent has at most 128 tools of MCP servers, and at most 100 of one; more are named."""
    servers = (odd("crowded", name="one"), odd("crowded", name="two"))
    with tool_server(tmp_path, mcp_servers=servers) as server:
        names = offered(server)
    assert [sum(f"__{name}__" in tool for tool in names) for name in ("one", "two")] == [100, 28]
    problems = server.hello.problems
    assert "the MCP server one has more than 100 tools: cut off there" in problems
    assert "the tool t28 of the MCP server two is one more than an agent can have: left out" in (
        problems
    )


def test_the_choice_of_tools(tmp_path: Path) -> None:
    """A tool is offered, and can be called, where the server's and the agent's settings let it."""
    servers = (
        odd(name="one", allowed_tools=("echo", "mcp__one__f*"), exclude_tools=("flood",)),
        odd(name="two"),
    )
    choice = ("mcp__one__*", "mcp__two__echo", "echo", "write_file")
    with tool_server(tmp_path, mcp_servers=servers, allowed_tools=choice) as server:
        assert offered(server) == ["mcp__one__echo", "mcp__one__fail", "mcp__two__echo"]
        assert "there is no tool" in server.call("mcp__two__fail").text


def test_an_allowed_tool_that_is_not_there(tmp_path: Path) -> None:
    """A choice that fits nothing is a problem that names it."""
    with tool_server(tmp_path, mcp_servers=(odd(allowed_tools=("ecko",)),)) as server:
        assert server.hello.problems == ("the MCP server odd has no tool ecko",)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (odd("dying"), "ended before it was ready; its last words: cannot find my settings"),
        (odd("silent", startup_timeout_seconds=2), "was not ready within 2 s"),
        (odd("unlistable"), "said what is not in the protocol"),
        (McpServerSpec(name="odd", command="no-such-program"), "there is no 'no-such-program'"),
    ],
)
def test_a_server_that_does_not_start(spec: McpServerSpec, problem: str, tmp_path: Path) -> None:
    """It costs its own tools: the others are there, and the problem says why."""
    other = odd(name="other", allowed_tools=("echo",))
    with tool_server(tmp_path, mcp_servers=(spec, other)) as server:
        [said] = server.hello.problems
        assert problem in said
        assert offered(server) == ["mcp__other__echo"]
        assert server.call("execute_command", command="true").result.exit_code == 0


def test_a_server_that_prints_beside_the_protocol(tmp_path: Path) -> None:
    """Words on stdout that are no messages, and floods of messages, do not disturb."""
    with tool_server(tmp_path, mcp_servers=(odd("chatty"),)) as server:
        for tool, size in (("babble", 10_000), ("storm", 10_000), ("interrogate", 1_000)):
            done = server.call(f"mcp__odd__{tool}", size=size)
            assert done.text == f'{tool}: {{"size": {size}}}'
        assert server.call("mcp__odd__shout", size=10_000_000).result.is_error is False


def test_what_a_server_says_of_its_tools(tmp_path: Path) -> None:
    """A server's instructions stand with the first of its tools, as plain text."""
    with tool_server(tmp_path, mcp_servers=(odd(allowed_tools=("echo", "fail")),)) as server:
        first, second = (tool.description for tool in server.hello.tools)
    assert first == "Does echo.\n\nOf all tools of this server: Call echo first."
    assert second == "Does fail."


def test_a_long_result_is_cut_in_the_middle(tmp_path: Path) -> None:
    """Its beginning and its end stay."""
    with tool_server(tmp_path, mcp_servers=(odd(),)) as server:
        text = server.call("mcp__odd__flood", size=1_000_000).text
    assert len(text) <= MAX_RESULT_CHARS
    assert text.startswith("beginxxx")
    assert text.endswith("xxxend")
    assert "characters are left out" in text


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("die", "ended before it answered; its last words: I am dying"),
        ("endless", "sent a message of more than 16,777,216 bytes"),
        ("lie", "answered with what is no result of a tool"),
    ],
)
def test_a_server_that_fails_in_a_call(tool: str, said: str, tmp_path: Path) -> None:
    """The call says what happened, and the next one finds the server at work again."""
    with tool_server(tmp_path, mcp_servers=(odd(),)) as server:
        failed = server.call(f"mcp__odd__{tool}", size=20_000_000)
        assert failed.result.is_error
        assert said in failed.text
        assert server.call("mcp__odd__echo", a=1).text == 'echo: {"a": 1}'


def test_a_server_that_never_answers(tmp_path: Path) -> None:
    """A call ends at its time limit, and after two such calls the server is started again."""
    spec = odd(call_timeout_seconds=1)
    with tool_server(tmp_path, mcp_servers=(spec,)) as server:
        for _ in range(2):
            assert "did not answer within 1 s" in server.call("mcp__odd__hang").text
        assert server.call("mcp__odd__echo").text == "echo: {}"


def test_a_server_that_keeps_dying(tmp_path: Path) -> None:
    """After the fourth death it is left alone."""
    with tool_server(tmp_path, mcp_servers=(odd(),)) as server:
        for _ in range(4):
            server.call("mcp__odd__die")
        assert "has ended 4 times and is not started any more" in server.call("mcp__odd__echo").text


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """With the tool server its MCP servers end, also one that hangs."""
    marker = f"marker-{tmp_path.name}-{os.getpid()}"
    with tool_server(tmp_path, mcp_servers=(odd("", marker),)) as server:
        process = server.process
        server.begin("mcp__odd__hang")
        assert running(marker) == 1
        server.close()
    assert process.returncode == 0
    assert running(marker) == 0


def running(marker: str) -> int:
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            count += marker.encode() in path.read_bytes()
    return count
