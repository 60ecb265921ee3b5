"""Fixtures of the tests of commands. Runs on: host."""

from pathlib import Path

import pytest

from tests.support.massgen import Project


@pytest.fixture
def work(tmp_path: Path) -> Project:
    """A working directory for commands that start no container."""
    return Project(tmp_path)
