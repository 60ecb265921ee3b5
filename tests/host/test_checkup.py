"""What `massgen-runner doctor` finds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.host.checkup import Finding, check_machine


def findings(environ: dict[str, str], cwd: Path) -> dict[str, Finding]:
    """Return the findings by name."""
    return {finding.name: finding for finding in check_machine(environ, cwd)}


def test_missing_engine_is_the_one_error(tmp_path: Path) -> None:
    """Without an engine no run is possible; everything else only gets remedies."""
    environ = {"HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    found = findings(environ, tmp_path)
    assert [f.name for f in found.values() if f.level == "error"] == ["engine"]
    assert "massgen-runner engine start" in str(found["engine"].remedy)
    assert "massgen-runner model download" in str(found["local model"].remedy)
    assert "OPENAI_API_KEY" in str(found["keys"].remedy)


def test_keys_are_named_and_never_shown(tmp_path: Path) -> None:
    """A provider with a key is listed with the variable and the place, without the value."""
    (tmp_path / ".env").write_text("GROQ_API_KEY=gsk_planted2\n")
    environ = {
        "HOME": str(tmp_path),
        "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
        "OPENAI_API_KEY": "sk-planted1",
    }
    found = findings(environ, tmp_path)
    assert "openai (OPENAI_API_KEY from the environment)" in found["keys"].found
    assert f"groq (GROQ_API_KEY from {tmp_path}/.env)" in found["keys"].found
    assert "planted" not in repr(found)


def test_the_default_configurations_warnings_are_shown(tmp_path: Path) -> None:
    """Credentials that a configuration puts into a container are a warning here too."""
    environ = {"HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    assert "configuration" not in findings(environ, tmp_path)
    config = tmp_path / ".massgen" / "config.yaml"
    config.parent.mkdir()
    raw = "{env_vars: [GITHUB_TOKEN], allow_raw: true}"
    backend = f"type: openai, model: m, command_line_docker_credentials: {raw}"
    config.write_text(f"agents:\n  - id: a\n    backend: {{{backend}}}\n")
    found = findings(environ, tmp_path)["configuration"]
    assert found.level == "warning"
    assert "pass them on: GITHUB_TOKEN" in found.found
    config.write_text("agents:\n  - id: a\n    backend: {type: openai, model: m}\n")
    assert findings(environ, tmp_path)["configuration"].level == "ok"


def test_home_that_is_not_set_is_no_traceback(tmp_path: Path) -> None:
    """Without HOME the local model's finding says what to set."""
    found = findings({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}, tmp_path)
    assert found["local model"].level == "warning"


@pytest.mark.docker
def test_working_engine_makes_the_command_succeed(tmp_path: Path) -> None:
    """With an engine the command exits 0 and gives machines one JSON object."""
    code = "from runner.cli.entry import massgen_runner; massgen_runner()"
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["usable"] is True
    [engine] = [check for check in report["checks"] if check["name"] == "engine"]
    assert "API" in engine["found"]
