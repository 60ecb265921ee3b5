"""Entry point of the run container: carry out the spec, exit with its code.

Runs on: the run container.
"""

import gc
import signal
import sys


def main() -> int:
    """Return the exit code of the mounted spec's run."""
    # A signal that comes while the imports below take their time waits until it can be handled.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    # What is imported stays for good: looking for garbage in between is in vain.
    gc.disable()
    # Models are reached over a Unix socket. aiohttp and asyncio do without ssl where it is missing;
    # where it is there, importing aiohttp reads every certificate authority of the system.
    sys.modules["ssl"] = None  # type: ignore[assignment]  # documented: its import fails then
    from runner.coordination.process import carry_out_mounted_spec

    gc.enable()
    code = carry_out_mounted_spec()
    gc.freeze()  # or the interpreter goes through everything once more before it ends
    return code


if __name__ == "__main__":
    sys.exit(main())
