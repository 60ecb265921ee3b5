"""The provider as a process: `python -m tests.support.provider --port 0`. Runs on: host.

Its first line on stdout is its URL, with /v1; it serves until SIGTERM or Ctrl-C.
"""

import argparse
import signal
import sys
from pathlib import Path

from tests.support.provider.hosting import Provider
from tests.support.provider.scenarios import scenarios
from tests.support.provider.script import Script


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.support.provider")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--script", type=Path, help="a script in JSON")
    chosen.add_argument("--scenario", choices=sorted(scenarios()), default="cooperative")
    parser.add_argument("--log", type=Path, help="append every request to this JSONL file")
    parser.add_argument("--expect-key", help="answer 401 unless this credential arrives")
    return parser.parse_args()


def main() -> None:
    given = _arguments()
    script = Script.from_file(given.script) if given.script else scenarios()[given.scenario]
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)  # for the server's thread too
    with Provider(
        script, port=given.port, log_path=given.log, expect_key=given.expect_key
    ) as provider:
        sys.stdout.write(f"{provider.url}\n")
        sys.stdout.flush()
        signal.sigwait(stop)


if __name__ == "__main__":
    main()
