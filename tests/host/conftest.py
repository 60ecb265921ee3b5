"""Fixtures of the tests of the host's side. Runs on: host."""

from collections.abc import Iterator

import pytest

from runner.host.engine import Engine
from runner.host.images import ensure_image
from tests.host.containers import Containers


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """The name of the run image, built where it is missing."""
    return ensure_image(engine, print)


@pytest.fixture
def containers(engine: Engine, image: str) -> Iterator[Containers]:
    """Containers of the test's own, removed after it."""
    made = Containers(engine, image)
    yield made
    made.remove_all()
