"""An interrupt is never lost."""

import subprocess
import sys

import pytest

LOSING = """
import signal, sys, threading
from contextlib import nullcontext
from runner.cli.lost_interrupt import raise_lost_interrupts_again
from runner.host.masked_output import masked_log

class Loses:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

raise_lost_interrupts_again()
with masked_log(str) if sys.argv[1] == "masked" else nullcontext():
    try:
        del_me = Loses()
        del del_me
        threading.Event().wait(60)
    except KeyboardInterrupt:
        sys.exit(7)
"""


@pytest.mark.parametrize("log", ["plain", "masked"])
def test_an_interrupt_in_a_callback_comes_again(log: str) -> None:
    """Ctrl-C while Python runs something whose errors it drops still ends the command."""
    done = subprocess.run(
        [sys.executable, "-c", LOSING, log], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (7, "")
