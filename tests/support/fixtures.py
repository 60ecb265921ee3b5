"""Fixtures that any test may use. Runs on: host."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine_view import EngineView
from tests.support.massgen import BIN, Project
from tests.support.provider import Provider, refused_url


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A scripted provider of the test's own, on a port of its own."""
    with Provider() as running:
        yield running


@pytest.fixture
def refused_provider_url() -> Iterator[str]:
    """The URL of a provider that refuses connections."""
    with refused_url() as url:
        yield url


@pytest.fixture(scope="session")
def engine_view() -> Iterator[EngineView]:
    """The container engine, seen by a client of the tests' own; the test fails without one."""
    view = EngineView()
    yield view
    view.close()


@pytest.fixture(scope="session")
def run_image() -> str:
    """The tag of the run image, built where it is missing: no test's deadline includes that."""
    command = [str(BIN / "massgen-runner"), "image", "build"]
    built = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert built.returncode == 0, built.stderr
    return built.stdout.splitlines()[-1]


@pytest.fixture
def project(tmp_path: Path, run_image: str) -> Project:
    """A working directory in which the real command runs."""
    return Project(tmp_path)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a directory whose path leaves room for the 108 bytes of a socket's address."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Iterator[None]:
    """Show our containers beside a failed test that uses the engine."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy's Result
    if report.failed and item.get_closest_marker("docker"):
        report.sections.append(("containers", _containers()))


def _containers() -> str:
    try:
        view = EngineView()
        try:
            return view.report()
        finally:
            view.close()
    except Exception as error:  # what the test says is not to be hidden by this
        return f"cannot be shown: {error}"
