"""The container's side is measured where it really runs. Runs on: host."""

import shutil
import uuid
from pathlib import Path

import coverage
import pytest

from runner.contract.outcome import ExitCode
from runner.host.images import image_tag
from tests.support.container_coverage import DATA_PREFIX, build_measured_image
from tests.support.engine_view import EngineView
from tests.support.massgen import Project
from tests.support.provider import (
    NewAnswer,
    Provider,
    Rule,
    Script,
    Silence,
    Text,
    Vote,
    forever,
)

pytestmark = pytest.mark.docker


def _keep(data: Path) -> None:
    """Put a container's data beside the host's, where `coverage combine` finds both."""
    measuring = coverage.Coverage.current()
    if measuring is not None:
        name = measuring.get_option("run:data_file")
        target = Path(str(name)).absolute().parent
        shutil.copy(data, target / f"{DATA_PREFIX}.{uuid.uuid4().hex}")


SCRIPTS = {
    "restarts": Script(
        rules=(
            Rule((NewAnswer("Another."),), model="model-agent_b", step="vote", last_repeats=False),
        )
    ),
    "reminders": Script(
        rules=(
            Rule((Text(""), NewAnswer("At last.")), step="answer"),
            Rule((Vote("agent9"),), model="model-agent_a", step="vote", last_repeats=False),
        )
    ),
    "failure": Script(rules=(Rule((forever(401),)),)),
    "timeout": Script(rules=(Rule((Silence(),)),)),
}


@pytest.mark.parametrize(
    ("case", "exit_code"),
    [
        ("restarts", ExitCode.SUCCESS),
        ("reminders", ExitCode.SUCCESS),
        ("failure", ExitCode.EXECUTION),
        ("timeout", ExitCode.TIMEOUT),
    ],
)
def test_what_runs_in_the_container_is_measured(
    project: Project,
    provider: Provider,
    engine_view: EngineView,
    case: str,
    exit_code: ExitCode,
) -> None:
    """A run in the measuring image ends as in the real one, and leaves what was executed."""
    provider.play(SCRIPTS[case])
    image = build_measured_image(engine_view.client.api, image_tag())
    project.write_config(
        provider.url,
        backends={"agent_b": {"decision_mode": "json_schema"}},
        runner={"image": image, "stall_timeout_seconds": 30},
    )

    done = project.answer("Why?", "--orchestrator-timeout", "6")

    assert exit_code == done.exit_code, done
    (data,) = done.log_dir.glob(f"{DATA_PREFIX}*")
    measured = coverage.CoverageData(str(data))
    measured.read()
    assert any(name.endswith("coordination/orchestrator.py") for name in measured.measured_files())
    _keep(data)
