"""What preparing the local model says while it works. Runs on: host."""

import time
from collections.abc import Callable
from math import inf
from typing import Literal, NamedTuple

from runner.local_model.manifest import MEBIBYTE

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


def in_words(
    say: Callable[[str], None],
    every_seconds: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Return a report that says a line when a step begins and every few seconds while it lasts.

    A step that does nothing worth waiting for (the model answers already) says nothing.
    """
    said: dict[str, float] = {}

    def report(progress: Progress) -> None:
        now = clock()
        if progress.step == "ready" or now - said.get(progress.message, -inf) < every_seconds:
            return
        if progress.message in said and progress.bytes_done is None:
            return  # nothing new to tell
        said[progress.message] = now
        say(sentence(progress))

    return report


def sentence(progress: Progress) -> str:
    """Return a report as a line for people: `downloading X: 12 % (128 of 1,066 MiB)`."""
    done, total = progress.bytes_done, progress.bytes_total
    if done is None or not total:
        return progress.message
    share = f"{done / MEBIBYTE:,.0f} of {total / MEBIBYTE:,.0f} MiB"
    return f"{progress.message}: {100 * done // total} % ({share})"
