"""Close a run's books, whatever ended it. Runs on: host."""

import asyncio
import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.status import Status
from runner.contract.text import one_line
from runner.contract.usage import RunUsage
from runner.errors import RunnerError
from runner.host.closing import close_record, close_status, initial_status
from runner.host.diagnostics import INTERRUPTED
from runner.host.interrupts import signals_ignored
from runner.host.observer import FinishedRun
from runner.host.run_containers import take_back
from runner.host.run_request import CurrentRun
from runner.host.run_store import NewRun, new_record

if TYPE_CHECKING:
    pass


def outcome_of(error: BaseException, redact: Callable[[str], str] = str) -> RunOutcome:
    """Return the outcome that an exception stands for; `redact` masks its message."""
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
        return RunOutcome.of(ExitCode.INTERRUPTED, INTERRUPTED)
    if isinstance(error, RunnerError):
        return RunOutcome.of(error.exit_code, one_line(redact(str(error))))
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return RunOutcome.of(ExitCode.EXECUTION, one_line(f"{where}{error.strerror or error}"))
    return RunOutcome.of(
        ExitCode.EXECUTION, one_line(redact(f"internal error: {type(error).__name__}: {error}"))
    )


class Books:
    """What is to be closed when a run is over, whatever ended it."""

    def __init__(self, current: CurrentRun) -> None:
        self._current = current
        self.first_status = initial_status(current.spec, time.time())
        self.usage: RunUsage | None = None
        self.record = new_record(
            current.new,
            question=one_line(current.request.question, 500),
            config_path=current.request.config.path,
            agents=tuple(agent.id for agent in current.spec.agents),
        ).model_copy(
            update={
                "engine_url": current.ready.engine.url,
                "image": current.spec.image,
                "workspaces": tuple(str(agent.workspace) for agent in current.acting.values()),
            }
        )

    def note_container(self, container_id: str) -> None:
        """Write down which container carries the run out."""
        self.record = self.record.model_copy(
            update={"state": "running", "container_id": container_id}
        )
        self._current.new.directory.write_record(self.record)

    def close(self, outcome: RunOutcome) -> FinishedRun:
        """Write the last status and record, tell the observer, and return the finished run."""
        new = self._current.new
        with signals_ignored(for_good=self._current.request.ends_process):
            take_back(self._current)
            try:
                status = close_status(
                    new.directory, new.log, self.first_status, outcome, self.usage
                )
                close_record(new.directory, self.record, outcome)
            except OSError as error:
                status = self.first_status
                outcome = outcome if outcome.exit_code else outcome_of(error)
            finished = self._finished(outcome, status)
            self._current.observer.ended(finished)
            if not self._current.request.keep_log:
                _remove_log(new)
        return finished

    def _finished(self, outcome: RunOutcome, status: Status) -> FinishedRun:
        log, winner = self._current.new.log, status.results.winner
        return FinishedRun(
            run_id=self._current.new.run_id,
            log=log,
            outcome=outcome,
            status=status,
            answer_file=log.final_answer(winner) if winner else None,
            duration_seconds=time.time() - self.record.created_at,
        )


def _remove_log(new: NewRun) -> None:
    shutil.rmtree(new.log.root, ignore_errors=True)
    shutil.rmtree(new.directory.root, ignore_errors=True)
