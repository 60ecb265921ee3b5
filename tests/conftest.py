"""Fixtures of all tests. Runs on: host."""

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from runner.errors import EngineError
from runner.host.engine import Engine, connect, find_engine


def pytest_configure() -> None:
    """Name the engine for commands that tests start with a HOME of their own.

    The user's own engine is found by HOME. Without an engine the tests that need one fail.
    """
    with suppress(EngineError):
        os.environ.setdefault("DOCKER_HOST", find_engine(os.environ))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The container engine; a test that asks for it fails where there is none."""
    with connect(os.environ) as connected:
        yield connected
