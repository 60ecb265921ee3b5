"""The edge of the container's process: spec, signals, log, exit code. Runs on: the run container.

Whatever happens ends here as an exit code and at most one line on stderr, which the host reads.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from runner.contract.files import read_bytes
from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.spec import ANSWERS_DIR, SOCKET_PATH, SPEC_PATH, RunSpec
from runner.contract.text import one_line, printable
from runner.contract.tools import AGENTS_DIR
from runner.coordination.disk import writing
from runner.coordination.run import carry_out, outcome_of
from runner.errors import ExecutionError

MAX_SPEC_BYTES = 64 * 1024 * 1024
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_log = logging.getLogger(__name__)


def carry_out_mounted_spec(environ: Mapping[str, str] = os.environ) -> int:
    """Carry out the run of the mounted spec and return its exit code."""
    root = logging.getLogger()
    root.addHandler(logging.NullHandler())  # without any handler, logging writes to stderr
    try:
        spec = read_spec(Path(environ.get("RUNNER_SPEC", SPEC_PATH)))
        _log_to(LogLayout(Path(spec.log_dir)).debug_log, debug=spec.debug)
        socket_path = environ.get("RUNNER_SOCKET", SOCKET_PATH)
        agents_dir = environ.get("RUNNER_AGENTS_DIR", AGENTS_DIR)
        answers_dir = environ.get("RUNNER_ANSWERS_DIR", ANSWERS_DIR)
        outcome = asyncio.run(_with_signals(spec, socket_path, agents_dir, answers_dir))
    except Exception as error:  # the edge of the process: nothing may leave it as a traceback
        outcome = outcome_of(error)
        _log.exception("the run ends because of an error")
    _log.info("exit %d: %s", outcome.exit_code, outcome.reason)
    if outcome.exit_code is not ExitCode.SUCCESS:
        with suppress(OSError):
            print(one_line(outcome.reason), file=sys.stderr, flush=True)
    return int(outcome.exit_code)


def read_spec(path: Path) -> RunSpec:
    """Read the run's spec. Raises ExecutionError."""
    try:
        return RunSpec.model_validate_json(read_bytes(path.parent, path.name, MAX_SPEC_BYTES))
    except OSError as error:
        raise ExecutionError(f"the run's spec cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ExecutionError(
            f"the run's spec {path} does not fit this image ({where}: {first['msg']}); image and "
            "command must be of one version: massgen-runner image build"
        ) from error


async def _with_signals(
    spec: RunSpec, socket_path: str, agents_dir: str, answers_dir: str
) -> RunOutcome:
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, interrupted.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    return await carry_out(spec, socket_path, interrupted, agents_dir, answers_dir)


class _SafeFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _log_to(path: Path, *, debug: bool) -> None:
    # A full disk is reported by the run itself; logging would print a traceback for each line.
    logging.raiseExceptions = False
    root = logging.getLogger()
    with writing(path):
        _add_handler(root, logging.FileHandler(path, encoding="utf-8", errors="replace"))
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    if debug:
        _add_handler(root, logging.StreamHandler(), logging.ERROR)


def _add_handler(
    logger: logging.Logger, handler: logging.Handler, level: int = logging.NOTSET
) -> None:
    handler.setFormatter(_SafeFormatter(_FORMAT))
    handler.setLevel(level)
    logger.addHandler(handler)
