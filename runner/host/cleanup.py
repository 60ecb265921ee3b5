"""Find and remove what crashed runs left behind. Runs on: host.

A run whose supervisor's lock is free has nobody left: its container is removed, its status and
record are closed. A run that is alive, or another user's, is never touched.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.run_id import is_run_id
from runner.contract.spec import RunSpec
from runner.contract.status import Status
from runner.contract.usage import RunUsage
from runner.errors import RunnerError
from runner.gateway.ledger import read_ledger, sum_of
from runner.host.closing import (
    close_record,
    close_status,
    initial_status,
    read_status,
)
from runner.host.container_spec import LABEL_OWNER, LABEL_RUN_DIRECTORY, LABEL_RUN_ID
from runner.host.engine import ContainerSummary, Engine
from runner.host.run_containers import hand_back
from runner.host.run_store import UNSEEN_PREFIX, RunDirectory, RunRecord, RunStore

_ABANDONED = "its supervisor ended without closing it"


class Cleaned(NamedTuple):
    """One thing that was, or with a dry run would be, put in order."""

    kind: str
    """`container`, `run` or `directory`."""
    name: str
    what: str


def clean(engine: Engine | None, store: RunStore, *, dry_run: bool) -> Iterator[Cleaned]:
    """Yield each left-over as it is dealt with; without an engine containers are passed over."""
    if engine is not None:
        yield from _clean_containers(engine, dry_run=dry_run)
    for run in store.all():
        yield from _close_abandoned(run, dry_run=dry_run)
    yield from _clean_unseen(store, dry_run=dry_run)


def _clean_containers(engine: Engine, *, dry_run: bool) -> Iterator[Cleaned]:
    abandoned: dict[str, RunDirectory] = {}
    for container in engine.list({LABEL_RUN_ID: None, LABEL_OWNER: str(os.getuid())}):
        run = _run_of(container)
        if run is not None and run.has_supervisor():
            continue
        if not dry_run:
            with contextlib.suppress(RunnerError):
                engine.remove(container.id)
        yield Cleaned("container", container.name, "removed")
        if run is not None:
            abandoned[run.run_id] = run
    for run in abandoned.values():  # once nothing of them writes any more
        yield from _close_abandoned(run, dry_run=dry_run)


def _run_of(container: ContainerSummary) -> RunDirectory | None:
    directory = Path(container.labels.get(LABEL_RUN_DIRECTORY, ""))
    is_ours = directory.is_absolute() and is_run_id(directory.name) and directory.is_dir()
    return RunDirectory(directory) if is_ours else None


def _close_abandoned(run: RunDirectory, *, dry_run: bool) -> Iterator[Cleaned]:
    record = run.read_record()
    if record is None or record.state == "exited":
        return
    try:
        with run.supervised():
            if not dry_run:
                close_abandoned(run, record)
    except BlockingIOError:
        return
    yield Cleaned("run", run.run_id, "closed")


def close_abandoned(run: RunDirectory, record: RunRecord) -> RunOutcome:
    """Close the books of a run that nobody supervises and whose container is gone."""
    log = LogLayout(Path(record.log_dir))
    hand_back([log.root, *map(Path, record.workspaces)])
    status = read_status(log)
    outcome = status.meta.outcome if status and status.meta.outcome else None
    if outcome is None:
        outcome = RunOutcome.of(ExitCode.EXECUTION, _ABANDONED)
    fallback = status or _status_from_spec(run, record)
    with contextlib.suppress(OSError):
        close_status(run, log, fallback, outcome, _usage_of(run, fallback))
    close_record(run, record, outcome)
    return outcome


def _usage_of(run: RunDirectory, status: Status) -> RunUsage:
    """Return what the ledger says; calls that were under way count with what was set aside."""
    try:
        counted = sum_of(read_ledger(run.ledger).calls)
    except OSError:
        return status.usage
    limits = {name: getattr(status.usage, name) for name in ("budget_usd", "budget_note")}
    return counted.model_copy(update=limits)


def _status_from_spec(run: RunDirectory, record: RunRecord) -> Status:
    spec = RunSpec(
        run_id=run.run_id,
        root_run_id=record.root_run_id,
        session_id=Path(record.log_dir).name,
        log_dir=record.log_dir,
        question=record.question,
        start_time=record.created_at,
        deadline=record.created_at,
        image=record.image,
        agents=(),
    )
    return initial_status(spec, record.created_at)


def _clean_unseen(store: RunStore, *, dry_run: bool) -> Iterator[Cleaned]:
    """Remove run directories of starts that were killed before anybody could see them."""
    for path in sorted(store.runs.glob(f"{UNSEEN_PREFIX}*")):
        if path.is_symlink() or RunDirectory(path).has_supervisor():
            continue
        if not dry_run:
            shutil.rmtree(path, ignore_errors=True)
        yield Cleaned("directory", path.name, "removed")
