"""What people see of a run: a live table on a terminal, plain lines elsewhere. Runs on: host.

Progress goes to stderr and the answer to stdout, so that a pipe receives the answer alone.
"""

import sys
import time
from typing import TYPE_CHECKING, TextIO

from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode
from runner.contract.status import AgentState, AgentStatus, Status
from runner.contract.text import one_line, printable
from runner.host.closing import MAX_STATUS_BYTES
from runner.host.observer import FinishedRun
from runner.report.automation import Lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_REFRESHES_A_SECOND = 4
_QUESTION_CHARS = 300
_STYLES = {
    AgentStatus.WAITING: "dim",
    AgentStatus.STREAMING: "cyan",
    AgentStatus.ANSWERED: "green",
    AgentStatus.VOTED: "blue",
    AgentStatus.RESTARTING: "yellow",
    AgentStatus.COMPLETED: "bold green",
    AgentStatus.ERROR: "bold red",
    AgentStatus.TIMEOUT: "bold red",
}


class PlainDisplay:
    """One line for each thing that happens to an agent; nothing is redrawn."""

    def __init__(
        self, *, progress: bool, stdout: TextIO | None = None, stderr: TextIO | None = None
    ) -> None:
        self.wants_progress = progress
        self._out = Lines(stdout or sys.stdout)
        self._err = Lines(stderr or sys.stderr)
        self._shown: dict[str, str] = {}

    def announced(self, run_id: str, log: LogLayout, question: str) -> None:
        if self.wants_progress:
            self._err.write(f"Run {run_id}: {one_line(question, _QUESTION_CHARS)}")
            self._err.write(f"Log: {log.root}")

    def noticed(self, message: str) -> None:
        self._err.write(one_line(message))

    def progressed(self, status: Status) -> None:
        for name, agent in status.agents.items():
            words = agent_words(agent)
            if self._shown.get(name) != words:
                self._shown[name] = words
                self._err.write(f"{status.meta.elapsed_seconds:7.1f}s  {name}: {words}")

    def ended(self, run: FinishedRun) -> None:
        _write_end(run, self._out, self._err)


class LiveDisplay:
    """A table that is redrawn in place while the run goes on."""

    wants_progress = True

    def __init__(self, console: "Console | None" = None) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        self._status: Status | None = None
        self._question = ""
        self._started = time.monotonic()
        self._out = Lines(sys.stdout)
        self._err = Lines(sys.stderr)

    def announced(self, run_id: str, log: LogLayout, question: str) -> None:
        from rich.live import Live

        self._question = one_line(question, _QUESTION_CHARS)
        self._console.print(f"Run {run_id}", style="bold", markup=False, highlight=False)
        self._console.print(f"Log {log.root}", style="dim", markup=False, highlight=False)
        self._live = Live(
            get_renderable=self._picture,
            console=self._console,
            refresh_per_second=_REFRESHES_A_SECOND,
            transient=False,
        )
        self._live.start()

    def noticed(self, message: str) -> None:
        self._console.print(one_line(message), style="yellow", markup=False, highlight=False)

    def progressed(self, status: Status) -> None:
        self._status = status

    def ended(self, run: FinishedRun) -> None:
        self._status = run.status
        if self._live is not None:
            self._live.refresh()
            self._live.stop()
        _write_end(run, self._out, self._err)

    def _picture(self) -> "RenderableType":
        elapsed = time.monotonic() - self._started
        return picture(self._status, self._question, elapsed)


def picture(status: Status | None, question: str, elapsed_seconds: float) -> "RenderableType":
    """Return what is shown of a status: question, agents, and a line of totals."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Text(question, style="italic")
    if status is None:
        return Group(head, Text(f"starting the container  {elapsed_seconds:.1f}s", style="dim"))
    table = Table(
        "agent", "state", "answer", "vote", "restarts", "tokens", box=None, pad_edge=False
    )
    for name, agent in status.agents.items():
        tokens = status.usage.by_agent.get(name)
        table.add_row(
            Text(one_line(name)),
            Text(_state_words(agent), style=_STYLES[agent.status]),
            Text(one_line(agent.latest_answer_label or "-")),
            Text(_vote_words(agent)),
            Text(str(agent.times_restarted)),
            Text(str(tokens.output_tokens) if tokens else "-"),
        )
    return Group(head, table, Text(totals(status, elapsed_seconds), style="dim"))


def totals(status: Status, elapsed_seconds: float) -> str:
    """Return phase, completion, time and tokens in one line."""
    usage = status.usage
    parts = [
        status.coordination.phase.value.replace("_", " "),
        f"{status.coordination.completion_percentage}%",
        f"{elapsed_seconds:.1f}s",
        f"{usage.input_tokens} tokens in, {usage.output_tokens} out",
    ]
    if usage.cost_usd is not None:
        parts.append(f"{usage.cost_usd:.4f} USD")
    return "  ".join(parts)


def agent_words(agent: AgentState) -> str:
    """Return an agent's state in a few words, for a line of its own."""
    words = _state_words(agent)
    if agent.status is AgentStatus.VOTED:
        return f"{words} for {_vote_words(agent)}"
    if agent.status in {AgentStatus.ANSWERED, AgentStatus.COMPLETED} and agent.latest_answer_label:
        return f"{words} {one_line(agent.latest_answer_label)}"
    return words


def _state_words(agent: AgentState) -> str:
    if agent.error is not None:
        return (
            f"{agent.status.value}: {agent.error.type.value}: {one_line(agent.error.message, 120)}"
        )
    return agent.status.value


def _vote_words(agent: AgentState) -> str:
    return one_line(agent.vote_cast.voted_for_label) if agent.vote_cast else "-"


def _write_end(run: FinishedRun, out: Lines, err: Lines) -> None:
    if run.outcome.exit_code is not ExitCode.SUCCESS:
        err.write(f"Error: {one_line(run.outcome.reason)}", f"Log: {run.log.root}")
        return
    out.write(printable(_answer(run)))
    err.write(
        "",
        f"Winner: {run.status.results.winner}  ({run.duration_seconds:.1f}s)",
        f"Answer: {run.answer_file}",
        f"Log: {run.log.root}",
    )


def _answer(run: FinishedRun) -> str:
    from runner.contract.files import read_text

    if run.answer_file is None:
        return ""
    relative = str(run.answer_file.relative_to(run.log.root))
    return read_text(run.log.root, relative, MAX_STATUS_BYTES)
