"""Entry point of the run container: carry out the spec, exit with its code.

Runs on: the run container.
"""

import signal
import sys


def main() -> int:
    """Return the exit code of the mounted spec's run."""
    # A signal that comes while the imports below take their time waits until it can be handled.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    from runner.coordination.process import carry_out_mounted_spec

    return carry_out_mounted_spec()


if __name__ == "__main__":
    sys.exit(main())
