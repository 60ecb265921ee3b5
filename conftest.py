"""Fixtures for all tests, from tests/support. Runs on: host."""

pytest_plugins = ["tests.support.fixtures"]
