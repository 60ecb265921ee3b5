"""What is installed from the wheel works without the checkout. Runs on: host."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runner.contract.outcome import ExitCode
from runner.host.images import image_tag
from tests.support.ends import assert_ended
from tests.support.engine_view import EngineView
from tests.support.massgen import Project
from tests.support.provider import Provider

pytestmark = [pytest.mark.docker, pytest.mark.slow]

CHECKOUT = Path(__file__).parents[2]
_TAG = (
    "from runner.host.images import image_tag; import runner; print(runner.__file__, image_tag())"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content in a directory of its own, as an installer lays it out."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir"]
    built = subprocess.run(
        [*command, str(directory), str(CHECKOUT)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = directory.glob("*.whl")
    site = directory / "site"
    zipfile.ZipFile(wheel).extractall(site)
    return site


def test_the_wheel_makes_the_same_image(installed: Path, tmp_path: Path) -> None:
    """Dockerfile, requirements and sources travel along: the image's name is the checkout's."""
    found = subprocess.run(
        [sys.executable, "-c", _TAG],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    file, tag = found.stdout.split()
    assert Path(file).is_relative_to(installed)
    assert tag == image_tag({})


def test_a_run_from_the_wheel(
    installed: Path, project: Project, provider: Provider, engine_view: EngineView
) -> None:
    """An installed command answers a question, and knows the packaged examples."""
    project.write_config(provider.url)
    env = {"PYTHONPATH": str(installed)}
    done = project.answer(env=env)
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    examples = project.massgen("--list-examples", env=env)
    assert "@examples/basic/multi/local_two_agents" in examples.stdout
