"""Runs that have ended, made without a container: records and ledgers in real directories."""

import json
from pathlib import Path
from typing import Any

from runner.gateway.ledger import CallRecord
from runner.host.run_store import RunDirectory, new_record, store_in


def call(number: int, cost_usd: float | None = 0.1, **changes: Any) -> CallRecord:
    """Return a call that has ended, changed as given."""
    fields: dict[str, Any] = {
        "call_id": f"call-{number}",
        "state": "settled",
        "run_id": "20261103-143022-0a1b2c3d",
        "agent_id": "agent_a",
        "provider": "openai",
        "model": "gpt-5-mini",
        "started": 1_793_700_000.0,
        "input_tokens": 100,
        "output_tokens": 10,
        "cached_tokens": 1,
        "cost_usd": cost_usd,
    }
    return CallRecord.model_validate({**fields, **changes})


def make_run(
    directory: Path, *calls: CallRecord, parent: RunDirectory | None = None, **record: Any
) -> RunDirectory:
    """Make the host's directory of a run with these calls in its ledger."""
    with store_in(directory).create() as new:
        made = new_record(new, question="Why?", config_path="team.yaml", agents=("agent_a",))
        changes = {"parent_run_id": parent.run_id if parent else None, **record}
        new.directory.write_record(made.model_copy(update=changes))
        append(new.directory, *(one.model_dump_json() for one in calls))
    return new.directory


def append(run: RunDirectory, *lines: str) -> None:
    """Add lines to a run's ledger."""
    with run.ledger.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def lines_of(run: RunDirectory) -> list[dict[str, Any]]:
    """Return the lines of a ledger as they are."""
    return [json.loads(line) for line in run.ledger.read_text("utf-8").splitlines()]
