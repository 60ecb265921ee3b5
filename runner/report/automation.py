"""Automation mode: `KEY: value` lines on stdout and nothing else. Runs on: host."""

import os
import sys
from typing import TextIO

from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode
from runner.contract.status import ANSWER_PREVIEW_CHARS, Status
from runner.contract.text import one_line
from runner.host.observer import FinishedRun

IN_PROGRESS = "[Coordination in progress - monitor status.json for real-time updates]"


class Lines:
    """A stream that people and scripts may close at any time: a lost reader ends no run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def write(self, *lines: str) -> None:
        """Write and flush whole lines; after the first failure nothing is written any more."""
        if self._stream is None:
            return
        try:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up(self._stream)

    def _give_up(self, stream: TextIO) -> None:
        """Send what the interpreter still has buffered to nowhere, so that its exit is silent."""
        self._stream = None
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
        except (OSError, ValueError):
            return


class AutomationLines:
    """What a script reads of a run: about ten lines."""

    wants_progress = False

    def __init__(self, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self._out = Lines(stdout or sys.stdout)
        self._err = Lines(stderr or sys.stderr)

    def announced(self, run_id: str, log: LogLayout, question: str) -> None:  # noqa: ARG002
        self._out.write(
            f"LOG_DIR: {log.root}",
            f"STATUS: {log.status}",
            f"QUESTION: {one_line(question)}",
            IN_PROGRESS,
        )

    def noticed(self, message: str) -> None:
        self._err.write(one_line(message))

    def progressed(self, status: Status) -> None:
        """Scripts read status.json themselves."""

    def ended(self, run: FinishedRun) -> None:
        duration = f"{run.duration_seconds:.1f}s"
        if run.outcome.exit_code is not ExitCode.SUCCESS:
            self._out.write("", failure_line(run), f"DURATION: {duration}")
            self._err.write(f"Error: {one_line(run.outcome.reason)}")
            return
        preview = run.status.results.final_answer_preview or ""
        self._out.write(
            "",
            f"WINNER: {run.status.results.winner}",
            f"ANSWER_FILE: {run.answer_file}",
            f"DURATION: {duration}",
            f"ANSWER_PREVIEW: {one_line(preview, ANSWER_PREVIEW_CHARS)}",
            "",
            f"COMPLETED: {len(run.status.agents)} agents, {duration} total",
        )


def failure_line(run: FinishedRun) -> str:
    """Return `ERROR: <kind>: <reason>` in one line."""
    return f"ERROR: {run.outcome.name}: {one_line(run.outcome.reason)}"
