"""What the runs of a directory have cost, read from their ledgers. Runs on: host.

A ledger is read as anybody could have written it: what is no record is passed over and counted,
and no file stands in the way of the others.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from runner.contract.text import one_line
from runner.gateway.ledger import CallRecord, read_ledger
from runner.host.run_store import RunDirectory


class RunCalls(NamedTuple):
    """The model calls of one run, and what belongs to them."""

    run_id: str
    parent_run_id: str | None
    config_path: str | None
    question: str
    calls: tuple[CallRecord, ...]
    depth: int = 0
    """How many runs it stands below, among those that are known."""
    problems: tuple[str, ...] = ()
    """What of its files could not be read, for people."""


def calls_of(runs: Iterable[RunDirectory]) -> list[RunCalls]:
    """Return the calls of runs, nested ones right after those that started them."""
    return list(_in_trees([_read(run) for run in runs]))


def since(runs: Iterable[RunCalls], start: float) -> list[RunCalls]:
    """Return the runs with calls that began at `start` (epoch seconds) or later, and only those."""
    cut = (run._replace(calls=tuple(c for c in run.calls if c.started >= start)) for run in runs)
    return [run for run in cut if run.calls]


def below(runs: Sequence[RunCalls], run_id: str) -> list[RunCalls]:
    """Return a run and those that stand below it."""
    found: list[RunCalls] = []
    top = 0
    for run in runs:
        if run.run_id == run_id:
            found = [run._replace(depth=0)]
            top = run.depth
        elif found and run.depth <= top:
            break
        elif found:
            found.append(run._replace(depth=run.depth - top))
    return found


def _read(run: RunDirectory) -> RunCalls:
    record = run.read_record()
    problems = [] if record else ["record.json is missing or unreadable"]
    calls: tuple[CallRecord, ...] = ()
    try:
        contents = read_ledger(run.ledger)
    except OSError as error:
        problems.append(f"usage.jsonl cannot be read: {one_line(error.strerror or str(error))}")
    else:
        calls = contents.calls
        if contents.skipped:
            problems.append(
                f"usage.jsonl: {contents.skipped} lines are no model calls: not counted"
            )
    return RunCalls(
        run_id=run.run_id,
        parent_run_id=record.parent_run_id if record else None,
        config_path=record.config_path if record else None,
        question=record.question if record else "",
        calls=calls,
        problems=tuple(problems),
    )


def _in_trees(runs: Sequence[RunCalls]) -> Iterator[RunCalls]:
    """Yield every run once, whatever the records say of each other."""
    known = {run.run_id for run in runs}
    children: dict[str | None, list[RunCalls]] = {}
    for run in runs:
        parent = run.parent_run_id if run.parent_run_id in known else None
        children.setdefault(parent, []).append(run)
    seen: set[str] = set()
    for start in (*children.get(None, ()), *runs):  # the runs of a circle have no first
        waiting = [start]
        while waiting:
            run = waiting.pop()
            if run.run_id in seen:
                continue
            seen.add(run.run_id)
            yield run
            below_it = reversed(children.get(run.run_id, ()))
            waiting += [child._replace(depth=run.depth + 1) for child in below_it]
