"""MCP servers in agents' containers. Runs on: host."""

import io
import json
import tarfile
from collections.abc import Iterator
from importlib.metadata import files

import pytest

from runner.contract.outcome import ExitCode
from tests.support.ends import assert_ended
from tests.support.engine_view import EngineView
from tests.support.massgen import Project
from tests.support.provider import Provider, Rule, Script, Text, ToolCall, ToolCalls

pytestmark = pytest.mark.docker

TAG = "massgen-runner-test/mcp-server-time:1"
PACKAGES = ("mcp-server-time", "tzdata", "tzlocal")
"""What the server needs beside what the run image has; without compiled parts."""


@pytest.fixture
def with_server(engine_view: EngineView, run_image: str) -> Iterator[str]:
    """An image with a published MCP server, made without a network from what is installed here."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        dockerfile = f"FROM {run_image}\nCOPY server /opt/server\n".encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile))
        for package in PACKAGES:
            for file in files(package) or ():
                if file.parts[0] != ".." and file.suffix != ".pyc":
                    archive.add(str(file.locate()), f"server/{file}")
    stream.seek(0)
    engine_view.client.images.build(
        fileobj=stream, custom_context=True, tag=TAG, network_mode="none", rm=True
    )
    yield TAG
    engine_view.client.images.remove(TAG, force=True)


def test_a_published_server_in_an_agents_container(
    project: Project, provider: Provider, engine_view: EngineView, with_server: str
) -> None:
    """An agent is offered a server's tools, without those that are excluded, and calls them."""
    asked = {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "UTC"}
    call = ToolCall("mcp__time__convert_time", json.dumps(asked))
    provider.play(Script(rules=(Rule((ToolCalls((call,)), Text("It is 3 in the morning."))),)))
    server = {
        "name": "time",
        "command": "/opt/runner/venv/bin/python",
        "args": ["-m", "mcp_server_time", "--local-timezone", "UTC"],
        "env": {"PYTHONPATH": "/opt/server"},
    }
    backend = {
        "command_line_docker_image": with_server,
        "mcp_servers": [server],
        "exclude_tools": ["mcp__time__get_*"],
    }
    project.write_config(provider.url, agents=("agent_a",), backend=backend)
    done = project.answer()
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    first, last = (json.loads(provider.requests[n].body) for n in (0, -1))
    assert [tool["function"]["name"] for tool in first["tools"]] == ["mcp__time__convert_time"]
    told = next(m["content"] for m in last["messages"] if m["role"] == "tool")
    assert "T03:00:00+00:00" in told
