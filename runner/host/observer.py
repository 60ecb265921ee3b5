"""What a run tells whoever started it. Runs on: host."""

from pathlib import Path
from typing import NamedTuple, Protocol

from runner.contract.log_layout import LogLayout
from runner.contract.outcome import RunOutcome
from runner.contract.status import Status


class FinishedRun(NamedTuple):
    """A run that is over."""

    run_id: str
    log: LogLayout
    outcome: RunOutcome
    status: Status
    answer_file: Path | None
    duration_seconds: float


class RunObserver(Protocol):
    """Receives what happens, in this order; nothing it does may end the run."""

    wants_progress: bool
    """Whether `progressed` is to be called at all; reading the status costs time."""

    def announced(self, run_id: str, log: LogLayout, question: str) -> None:
        """The run has its directories, and its status.json exists."""

    def noticed(self, message: str) -> None:
        """Something worth a line for people: a long step, a warning."""

    def progressed(self, status: Status) -> None:
        """status.json has changed."""

    def ended(self, run: FinishedRun) -> None:
        """The run is over; its files are closed."""
