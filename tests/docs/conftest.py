"""Fixtures of the tests of the documentation. Runs on: host."""

from tests.cli.conftest import work

__all__ = ["work"]
