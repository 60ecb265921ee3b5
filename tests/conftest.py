"""Fixtures of all tests. Runs on: host."""

import os
from collections.abc import Iterator

import pytest

from runner.host.engine import Engine, connect

pytest_plugins = ["tests.support.fixtures"]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The container engine; a test that asks for it fails where there is none."""
    with connect(os.environ) as connected:
        yield connected
