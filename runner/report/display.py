"""What people see of a run: a live table on a terminal, plain lines elsewhere. Runs on: host.

Progress goes to stderr and the answer to stdout, so that a pipe receives the answer alone.
"""

import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO, cast

from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode
from runner.contract.status import Status
from runner.contract.text import one_line, printable
from runner.host.closing import MAX_STATUS_BYTES
from runner.host.observer import FinishedRun
from runner.report.picture import Look, picture
from runner.report.streams import ForgivingStream, locale_is_plain
from runner.report.words import agent_words

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_REFRESHES_A_SECOND = 8
_QUESTION_CHARS = 300


class PlainDisplay:
    """One line for each thing that happens to an agent; nothing is redrawn."""

    def __init__(
        self, *, progress: bool, stdout: TextIO | None = None, stderr: TextIO | None = None
    ) -> None:
        self.wants_progress = progress
        self._out = ForgivingStream(stdout or sys.stdout)
        self._err = ForgivingStream(stderr or sys.stderr)
        self._shown: dict[str, str] = {}

    def announced(self, run_id: str, log: LogLayout, question: str) -> None:
        if self.wants_progress:
            self._err.lines(f"Run {run_id}: {one_line(question, _QUESTION_CHARS)}")
            self._err.lines(f"Log: {log.root}")

    def noticed(self, message: str) -> None:
        self._err.lines(one_line(message))

    def progressed(self, status: Status) -> None:
        for name, agent in status.agents.items():
            words = agent_words(agent)
            if self._shown.get(name) != words:
                self._shown[name] = words
                seconds = f"{status.meta.elapsed_seconds:7.1f}s"
                self._err.lines(f"{seconds}  {one_line(name)}: {words}")

    def ended(self, run: FinishedRun) -> None:
        _write_end(run, self._out, self._err)


class LiveDisplay:
    """A table that is redrawn in place while the run goes on."""

    wants_progress = True

    def __init__(
        self,
        *,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        from rich.console import Console

        self._out = ForgivingStream(stdout or sys.stdout)
        self._err = ForgivingStream(stderr or sys.stderr)
        self._console = Console(file=cast("TextIO", self._err))
        self._ascii_only = self._console.options.ascii_only or locale_is_plain(environ)
        self._live: Live | None = None
        self._status: Status | None = None
        self._question = ""
        self._started = time.monotonic()

    def announced(self, run_id: str, log: LogLayout, question: str) -> None:
        from rich.live import Live

        self._question = question
        self._say(f"Run {run_id}", "bold")
        self._say(f"Log {log.root}", "dim")
        self._live = Live(
            get_renderable=self._picture,
            console=self._console,
            refresh_per_second=_REFRESHES_A_SECOND,
            transient=False,
        )
        self._live.start()

    def noticed(self, message: str) -> None:
        self._say(one_line(message), "yellow")

    def progressed(self, status: Status) -> None:
        self._status = status

    def ended(self, run: FinishedRun) -> None:
        self._status = run.status
        if self._live is not None:
            self._live.stop()  # draws the last picture
            self._err.lines("")
        _write_end(run, self._out, self._err)

    def _say(self, line: str, style: str) -> None:
        """Print a line that people may copy: never wrapped by us, never read as markup."""
        self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def _picture(self) -> "RenderableType":
        elapsed = time.monotonic() - self._started
        look = Look(self._console.width, self._ascii_only)
        return picture(self._status, self._question, elapsed, look)


def _write_end(run: FinishedRun, out: ForgivingStream, err: ForgivingStream) -> None:
    if run.outcome.exit_code is not ExitCode.SUCCESS:
        err.lines(f"Error: {one_line(run.outcome.reason)}", f"Log: {run.log.root}")
        return
    try:
        out.lines(printable(_answer(run)))
    except (OSError, ValueError) as error:  # the answer's file is as hostile as its text
        err.lines(f"The answer cannot be shown: {one_line(str(error))}")
    err.lines(
        "",
        f"Winner: {one_line(str(run.status.results.winner))}  ({run.duration_seconds:.1f}s)",
        f"Answer: {one_line(str(run.answer_file))}",
        f"Log: {run.log.root}",
    )


def _answer(run: FinishedRun) -> str:
    from runner.contract.files import read_text

    if run.answer_file is None:
        return ""
    relative = str(run.answer_file.relative_to(run.log.root))
    return read_text(run.log.root, relative, MAX_STATUS_BYTES)
