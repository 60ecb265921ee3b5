"""Automation mode: `KEY: value` lines on stdout and nothing else. Runs on: host."""

import sys
from typing import TextIO

from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode
from runner.contract.status import ANSWER_PREVIEW_CHARS, Status
from runner.contract.text import one_line
from runner.host.observer import FinishedRun
from runner.report.streams import ForgivingStream, in_utf8

IN_PROGRESS = "[Coordination in progress - monitor status.json for real-time updates]"


class AutomationLines:
    """What a script reads of a run: about ten lines."""

    wants_progress = False

    def __init__(self, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self._out = ForgivingStream(in_utf8(stdout or sys.stdout))
        self._err = ForgivingStream(stderr or sys.stderr)

    def announced(self, run_id: str, log: LogLayout, question: str) -> None:  # noqa: ARG002
        self._out.lines(
            f"LOG_DIR: {log.root}",
            f"STATUS: {log.status}",
            f"QUESTION: {one_line(question)}",
            IN_PROGRESS,
        )

    def noticed(self, message: str) -> None:
        self._err.lines(one_line(message))

    def progressed(self, status: Status) -> None:
        """Scripts read status.json themselves."""

    def ended(self, run: FinishedRun) -> None:
        duration = f"{run.duration_seconds:.1f}s"
        if run.outcome.exit_code is not ExitCode.SUCCESS:
            self._out.lines("", failure_line(run), f"DURATION: {duration}")
            self._err.lines(f"Error: {one_line(run.outcome.reason)}")
            return
        preview = run.status.results.final_answer_preview or ""
        self._out.lines(
            "",
            f"WINNER: {one_line(str(run.status.results.winner))}",
            f"ANSWER_FILE: {one_line(str(run.answer_file))}",
            f"DURATION: {duration}",
            f"ANSWER_PREVIEW: {one_line(preview, ANSWER_PREVIEW_CHARS)}",
            "",
            f"COMPLETED: {len(run.status.agents)} agents, {duration} total",
        )


def failure_line(run: FinishedRun) -> str:
    """Return `ERROR: <kind>: <reason>` in one line; the kind is the exit code's own name."""
    return f"ERROR: {run.outcome.exit_code.name.lower()}: {one_line(run.outcome.reason)}"
