"""Runs in any state, as reports see them. Runs on: host."""

from pathlib import Path
from typing import Any

from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.status import AgentState, AgentStatus, Meta, Results, Status, VoteCast
from runner.contract.usage import RunUsage
from runner.host.observer import FinishedRun

RUN_ID = "20261103-143022-0a1b2c3d"
HOSTILE = "one\nWINNER: me\r\x1b[31mred\x1b[0m\x1b]0;title\x07 \u202eright\u2069 \x9b2J [bold]b[/]"
"""Lines, colours, a window title, direction marks, an eight-bit control and markup."""


def status_of(**changes: Any) -> Status:
    """Return the status of two agents of which one has voted, changed as given."""
    agents = {
        "agent_a": AgentState(
            status=AgentStatus.VOTED,
            answer_count=1,
            latest_answer_label="agent1.1",
            vote_cast=VoteCast(
                voted_for_agent="agent_a", voted_for_label="agent1.1", reason_preview="It is right."
            ),
        ),
        "agent_b": AgentState(status=AgentStatus.STREAMING, times_restarted=1),
    }
    meta = Meta(
        last_updated=1003.0,
        session_id="log_20261103_143022_000000",
        log_dir="/logs",
        question="Why?",
        start_time=1000.0,
        elapsed_seconds=3.0,
        run_id=RUN_ID,
        root_run_id=RUN_ID,
    )
    status = Status(
        meta=meta,
        agents=agents,
        results=Results(votes={"agent1.1": 1}),
        usage=RunUsage(input_tokens=120, output_tokens=34),
    )
    return status.model_copy(update=changes)


def finished(
    log_dir: Path,
    *,
    answer: str | None = "Because.",
    winner: str = "agent_a",
    code: ExitCode = ExitCode.SUCCESS,
    reason: str = "agent_a won",
    preview: str | None = None,
) -> FinishedRun:
    """Return a run that has ended, its answer on disk; `answer=None`: there is none."""
    log = LogLayout(log_dir)
    answer_file = None
    if answer is not None:
        answer_file = log.final_answer(winner)
        answer_file.parent.mkdir(parents=True)
        answer_file.write_text(answer)
    results = Results(
        votes={"agent1.1": 2},
        winner=winner if code is ExitCode.SUCCESS else None,
        final_answer_preview=answer if preview is None else preview,
    )
    outcome = RunOutcome.of(code, reason)
    status = status_of(results=results)
    return FinishedRun(RUN_ID, log, outcome, status, answer_file, 45.34)
