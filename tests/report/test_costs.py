"""What runs have cost: tables that add up to the ledgers, whatever stands in those."""

import csv
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.gateway.budget import usd
from runner.host.costs import RunCalls, below, calls_of, since
from runner.host.run_store import store_in
from runner.report.costs import GROUPS, By, as_csv, as_json, rows, table
from tests.report.runs import HOSTILE
from tests.support.ledgers import append, call, make_run

_PARTS = st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 10**14))


@given(st.lists(_PARTS, max_size=20))
def test_every_table_adds_up_exactly(parts: list[tuple[str, str, int]]) -> None:
    """However calls are grouped, the sum is that of the ledger's lines, to the last digit."""
    calls = [
        call(n, usd(picodollars), agent_id=agent, model=model)
        for n, (agent, model, picodollars) in enumerate(parts)
    ]
    exact = Decimal(sum(picodollars for _, _, picodollars in parts)).scaleb(-12)
    runs = [
        RunCalls("r1", None, "c.yaml", "", tuple(calls[:7])),
        RunCalls("r2", "r1", None, "", tuple(calls[7:])),
    ]
    for by in GROUPS:
        found = rows(runs, by)
        assert sum(row.sum.cost for row in found) == exact * 10**12
        assert Decimal(str(as_json(found, by)["total"]["cost_usd"])) == exact
        in_csv = csv.DictReader(as_csv(found, by).splitlines())
        assert sum(Decimal(line["cost_usd"]) for line in in_csv) == exact
        shown = [Decimal(line.split()[0]) for line in list(table(found))[1:]]
        assert sum(shown[:-1]) == shown[-1] == exact


def test_open_calls_count_apart() -> None:
    """What is set aside is shown as what it is, and not among what was paid."""
    calls = (call(1, 0.25), call(2, 0.5, state="open"), call(3, None))
    found = rows([RunCalls("r", None, None, "", calls)], "model")
    remarks = "  (1 open: up to 0.5000 USD more; 1 without a known price)"
    assert list(table(found)) == [
        "  cost USD    calls    tokens in          out",
        f"    0.2500        3          200           20  openai/gpt-5-mini{remarks}",
        f"    0.2500        3          200           20  total{remarks}",
    ]
    whole = as_json(found, "model")["total"]
    assert (whole["cost_usd"], whole["set_aside_usd"], whole["open_calls"]) == (0.25, 0.5, 1)


def test_nested_runs_stand_below_their_parents(tmp_path: Path) -> None:
    """Each run has its own calls, and those that it started come right after it."""
    parent = make_run(tmp_path, call(1, 1.0))
    child = make_run(tmp_path, call(2, 2.0), parent=parent)
    grandchild = make_run(tmp_path, call(3, 4.0), parent=child)
    other = make_run(tmp_path, call(4, 8.0))
    runs = calls_of(store_in(tmp_path).all())
    found = [(row.name, row.depth, row.sum.cost // 10**12) for row in rows(runs, "run")]
    tree = [(parent.run_id, 0, 1), (child.run_id, 1, 2), (grandchild.run_id, 2, 4)]
    alone = [(other.run_id, 0, 8)]
    assert found in (tree + alone, alone + tree)  # begun in one second, in any order
    placed = {
        row["name"]: row["parent_run_id"] for row in as_json(rows(runs, "run"), "run")["rows"]
    }
    assert placed[grandchild.run_id] == child.run_id
    assert placed[other.run_id] is None
    one = below(runs, child.run_id)
    assert [(run.run_id, run.depth) for run in one] == [(child.run_id, 0), (grandchild.run_id, 1)]


def test_records_that_go_in_a_circle(tmp_path: Path) -> None:
    """Runs that name each other, or themselves, as parents are shown once each."""
    first = make_run(tmp_path, call(1))
    second = make_run(tmp_path, call(2), parent=first)
    record = first.read_record()
    assert record is not None
    first.write_record(record.model_copy(update={"parent_run_id": second.run_id}))
    alone = make_run(tmp_path, call(3))
    record = alone.read_record()
    assert record is not None
    alone.write_record(record.model_copy(update={"parent_run_id": alone.run_id}))
    found = [run.run_id for run in calls_of(store_in(tmp_path).all())]
    assert sorted(found) == sorted([first.run_id, second.run_id, alone.run_id])


def test_hostile_ledger(tmp_path: Path) -> None:
    """What is no record is passed over and said; text from it is one harmless line."""
    run = make_run(tmp_path, call(1, 0.5), call(2, 0.25, agent_id=HOSTILE, model=HOSTILE))
    append(
        run,
        "not json",
        '{"call_id": 1}',
        call(3).model_dump_json().replace("0.1", "-5"),
        call(4).model_dump_json().replace("0.1", "1e999"),
        call(5).model_dump_json().replace('"input_tokens":100', '"input_tokens":1e300'),
        "[" * 100_000,
    )
    [found] = calls_of(store_in(tmp_path).all())
    assert [c.call_id for c in found.calls] == ["call-1", "call-2"]
    [problem] = found.problems
    assert problem.startswith("usage.jsonl: ")
    assert problem.endswith(" lines are no model calls: not counted")
    for by in ("agent", "model"):
        lines = list(table(rows([found], by)))
        assert len(lines) == 4
        assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("what", ["link", "fifo", "directory"])
def test_a_ledger_that_is_no_file(tmp_path: Path, what: str) -> None:
    """A ledger that is a link, a FIFO or a directory is said, and the other runs are counted."""
    good = make_run(tmp_path, call(1, 0.5))
    bad = make_run(tmp_path)
    bad.ledger.unlink()
    if what == "link":
        bad.ledger.symlink_to("/etc/passwd")
    elif what == "fifo":
        os.mkfifo(bad.ledger)
    else:
        bad.ledger.mkdir()
    runs = calls_of(store_in(tmp_path).all())
    assert {run.run_id: len(run.calls) for run in runs} == {good.run_id: 1, bad.run_id: 0}
    [problem] = [problem for run in runs for problem in run.problems]
    assert problem.startswith("usage.jsonl cannot be read: ")


def test_a_run_without_record_or_ledger(tmp_path: Path) -> None:
    """A run whose record is lost is still counted by its ledger, and one without calls is shown."""
    run = make_run(tmp_path, call(1, 0.5))
    run.record.unlink()
    make_run(tmp_path).ledger.unlink()
    runs = calls_of(store_in(tmp_path).all())
    assert {run.problems for run in runs} == {(), ("record.json is missing or unreadable",)}
    assert [row.name for row in rows(runs, "config")] == ["unknown"]


def test_since_counts_calls() -> None:
    """Only calls that began at that time or later count, and runs without any are left out."""
    calls = (call(1, started=10.0), call(2, started=20.0))
    runs = [RunCalls("r1", None, None, "", calls), RunCalls("r2", None, None, "", calls[:1])]
    [left] = since(runs, 20.0)
    assert [c.call_id for c in left.calls] == ["call-2"]


@pytest.mark.parametrize("started", [1e300, -1e300, 0.0])
def test_absurd_times(started: float) -> None:
    """A time that no calendar has is an unknown day."""
    [row] = rows([RunCalls("r", None, None, "", (call(1, started=started),))], "day")
    assert row.name in {"unknown", "1970-01-01", "1969-12-31"}


def test_no_formula_in_csv() -> None:
    """A name that a spreadsheet would carry out is text."""
    runs = [RunCalls("r", None, '=cmd|"/c x"!A1', "", (call(1),))]
    [_, line] = csv.reader(as_csv(rows(runs, "config"), "config").splitlines())
    assert line[0].startswith("'=cmd")


def test_nothing_at_all() -> None:
    """No runs are no cost."""
    by: By = "run"
    assert list(table(rows([], by)))[-1].split() == ["0.0000", "0", "0", "0", "total"]
    assert as_json([], by)["rows"] == []
    assert json.dumps(as_json([], by))
