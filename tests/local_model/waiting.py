"""Wait on a condition with a deadline."""

import time
from collections.abc import Callable

import pytest


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Return when `condition` holds; fail the test, naming `what`, when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)
