"""`massgen-runner model`: what people and scripts see of the local model."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from runner.cli.model import model


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose cache and runtime directory are empty."""
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}


def test_status_of_a_model_that_is_not_there(environment: dict[str, str]) -> None:
    """Machines read that neither weights nor a server are there; nothing is downloaded."""
    done = CliRunner().invoke(model, ["status", "--json"], env=environment)
    found = json.loads(done.stdout)
    assert (found["weights"], found["server_pid"]) == (False, None)
    assert not Path(found["path"]).exists()


def test_stop_without_a_server_says_so(environment: dict[str, str]) -> None:
    """There is nothing to stop, and that is no error."""
    done = CliRunner().invoke(model, ["stop"], env=environment)
    assert (done.exit_code, done.stdout) == (0, "no server of the local model runs\n")
