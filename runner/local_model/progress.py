"""What preparing the local model says while it works. Runs on: host."""

from collections.abc import Callable
from typing import Literal, NamedTuple

Step = Literal["download", "check", "wait", "load", "ready"]


class Progress(NamedTuple):
    """One report; `bytes_done` of `bytes_total` where the step counts bytes."""

    step: Step
    message: str
    bytes_done: int | None = None
    bytes_total: int | None = None


Report = Callable[[Progress], None]
"""Called several times a second; what it raises ends the preparation, and nothing is lost by it."""


def silent(_progress: Progress) -> None:
    """Report nothing."""
