"""The local model with tools, in a container of its own. Runs on: host."""

import os
from pathlib import Path

import pytest
import yaml

from runner.contract.outcome import ExitCode
from runner.local_model.lease import stop_server
from tests.support.massgen import Project

# The first test with the local model downloads 1.1 GB.
pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900)]

QUESTION = (
    "Write a file hello.txt that contains the single word hello, then tell me what it contains."
)


def test_the_local_model_writes_a_file(project: Project, tmp_path: Path) -> None:
    """A model of 1.5 billion parameters chooses its tools, and the file is in its workspace."""
    backend = {
        "type": "local",
        "cwd": "workspace",
        "enable_mcp_command_line": True,
        "temperature": 0,
    }
    agents = [{"id": "agent_a", "backend": backend}]
    (project.directory / "config.yaml").write_text(yaml.safe_dump({"agents": agents}))
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    environment = {"XDG_RUNTIME_DIR": str(runtime), "XDG_CACHE_HOME": cache}
    try:
        done = project.massgen(
            *("--automation", "--config", "config.yaml", QUESTION), timeout=800, env=environment
        )
    finally:
        stop_server({**os.environ, **environment})
    assert done.exit_code == ExitCode.SUCCESS, done.stderr
    [made] = project.directory.glob(".massgen/workspaces/workspace_*/hello.txt")
    assert made.read_text().strip() == "hello"
