"""Fixtures that any test may use. Runs on: host."""

from collections.abc import Iterator

import pytest

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
