"""Runs in a directory's store, made without an engine. Runs on: host."""

from pathlib import Path
from typing import NamedTuple

from runner.contract.files import atomic_write
from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.spec import AgentSpec, RunSpec
from runner.host.closing import close_record, close_status, initial_status
from runner.host.run_store import RunDirectory, new_record, store_in

QUESTION = "Why is the sky blue?"


class StoredRun(NamedTuple):
    """A run that has ended, or whose supervisor is gone."""

    directory: RunDirectory
    log: LogLayout


def stored_run(work: Path, *, ended: bool = True, question: str = QUESTION) -> StoredRun:
    """Write the books of a run of `agent_a` as a supervisor does, and let go of its lock."""
    with store_in(work).create() as new:
        spec = RunSpec(
            run_id=new.run_id,
            root_run_id=new.run_id,
            session_id=new.log.root.name,
            log_dir=str(new.log.root),
            question=question,
            start_time=1000.0,
            deadline=2000.0,
            agents=(AgentSpec(id="agent_a", model="model-a"),),
        )
        record = new_record(new, question=question, config_path=None, agents=("agent_a",))
        status = initial_status(spec, 1001.0)
        new.directory.write_record(record)
        atomic_write(new.directory.spec, spec.model_dump_json())
        atomic_write(new.log.status, status.model_dump_json())
        if ended:
            outcome = RunOutcome.of(ExitCode.EXECUTION, "no agent could finish")
            close_status(new.directory, new.log, status, outcome, None)
            close_record(new.directory, record, outcome)
        return StoredRun(new.directory, new.log)
