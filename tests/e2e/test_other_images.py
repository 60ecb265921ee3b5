"""Agents in images of the user's choice. Runs on: host."""

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.contract.outcome import ExitCode
from tests.support.ends import assert_ended
from tests.support.engine_view import EngineView
from tests.support.massgen import Project
from tests.support.provider import Provider, Rule, Script, Text, ToolCall, ToolCalls

pytestmark = pytest.mark.docker

TAG = "massgen-runner-test/shell-only:1"


@pytest.fixture
def shell_only(engine_view: EngineView) -> Iterator[str]:
    """An image that has a shell with its libraries and nothing else, no Python least of all."""
    linked = subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout
    files = ["/bin/sh", *(word for word in linked.split() if word.startswith("/"))]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in files:
            archive.add(Path(name).resolve(), name)
    engine_view.client.api.import_image_from_data(stream.getvalue(), *TAG.split(":"))
    yield TAG
    engine_view.client.images.remove(TAG, force=True)


def test_an_image_without_python(
    project: Project, provider: Provider, engine_view: EngineView, shell_only: str
) -> None:
    """The tool server brings all it needs with it, and leaves the agent's programs alone."""
    asked = json.dumps({"command": "echo made > here; set | while read l; do echo $l; done; pwd"})
    provider.play(
        Script(rules=(Rule((ToolCalls((ToolCall("execute_command", asked),)), Text("Done."))),))
    )
    backend = {
        "cwd": "workspace",
        "enable_mcp_command_line": True,
        "command_line_docker_image": shell_only,
    }
    project.write_config(provider.url, agents=("agent_a",), backend=backend)
    done = project.answer()
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    [workspace] = project.directory.glob(".massgen/workspaces/workspace_*")
    assert (workspace / "here").read_text() == "made\n"
    told = json.loads(provider.requests[-1].body)["messages"][-1]["content"]
    assert str(workspace) in told
    assert "PYTHON" not in told


def test_an_image_that_is_not_there(project: Project, provider: Provider) -> None:
    """It is a configuration error that names the key, before anything is started."""
    backend = {"cwd": "w", "command_line_docker_image": "massgen-runner-test/absent:1"}
    project.write_config(provider.url, agents=("agent_a",), backend=backend)
    done = project.answer()
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "agents.0.backend.command_line_docker_image: the engine has no image" in done.stderr
    assert not project.run_ids()
