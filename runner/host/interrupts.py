"""SIGINT, SIGTERM and SIGHUP while a run is supervised. Runs on: host."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WITH_ALARM = (*_SIGNALS, signal.SIGALRM)
"""SIGALRM brings an interrupt again that was lost."""


class Interrupts:
    """Counts requests to stop: the first asks politely, the second ends at once."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()

    def request(self) -> None:
        """Ask for the end of the run."""
        (self.second if self.first.is_set() else self.first).set()


@contextmanager
def handled_interrupts() -> Iterator[Interrupts]:
    """Turn these signals into requests while the block lasts; needs a running loop.

    One that is ignored, as nohup does with SIGHUP, stays ignored.
    """
    interrupts = Interrupts()
    if not _in_main_thread():
        yield interrupts
        return
    loop = asyncio.get_running_loop()
    before = {n: h for n in _SIGNALS if (h := signal.getsignal(n)) is not signal.SIG_IGN}
    for number in before:
        loop.add_signal_handler(number, interrupts.request)
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


@contextmanager
def signals_ignored(*, for_good: bool) -> Iterator[None]:
    """Let nothing interrupt the few milliseconds in which a run's books are closed.

    `for_good`: nor what follows, because the process ends with the run, by its exit code.
    """
    if not _in_main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _WITH_ALARM}
    try:
        yield
    finally:
        if not for_good:
            for number, handler in before.items():
                signal.signal(number, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
