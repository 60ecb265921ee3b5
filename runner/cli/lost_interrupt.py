"""Ctrl-C that Python drops is raised once more. Runs on: host.

A signal's handler runs wherever the main thread is, now and then in a callback of the garbage
collector or of an import, where Python can only print and forget what is raised.
"""

import signal
import sys

_SOON_SECONDS = 0.05


def raise_lost_interrupts_again() -> None:
    """Let a KeyboardInterrupt that was dropped come again, a moment later; for good."""
    dropped = sys.unraisablehook
    signal.signal(signal.SIGALRM, signal.default_int_handler)

    def again(failure: "sys.UnraisableHookArgs") -> None:
        if failure.exc_type is KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, _SOON_SECONDS)
        else:
            dropped(failure)

    sys.unraisablehook = again
