"""`massgen-runner cost`, as a person and as a program meets it."""

import csv
import json
from pathlib import Path

import pytest

from tests.support.ledgers import append, call, make_run
from tests.support.massgen import Completed, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def cost(project: Project, *arguments: str) -> Completed:
    return project.massgen("cost", *arguments, program="massgen-runner")


def test_all_runs(project: Project) -> None:
    """Every run has a line, nested ones below their parents, and the sum stands last."""
    parent = make_run(project.directory, call(1, 0.125))
    child = make_run(project.directory, call(2, 0.0000025), parent=parent)
    done = cost(project)
    assert done.exit_code == 0
    assert [line.split(maxsplit=4)[0::4] for line in done.stdout.splitlines()[1:]] == [
        ["0.1250000", f"{parent.run_id}  Why?"],
        ["0.0000025", f"{child.run_id}  Why?"],
        ["0.1250025", "total"],
    ]
    assert f"    {child.run_id}" in done.stdout


def test_one_run(project: Project) -> None:
    """A run is named by a part of its id, and counts with what is nested in it."""
    make_run(project.directory, call(1, 1.0))
    run = make_run(project.directory, call(2, 2.0))
    make_run(project.directory, call(3, 4.0, agent_id="agent_b"), parent=run)
    done = cost(project, run.run_id[-8:], "--by", "agent", "--json")
    found = json.loads(done.stdout)
    assert [(row["name"], row["cost_usd"]) for row in found["rows"]] == [
        ("agent_a", 2.0),
        ("agent_b", 4.0),
    ]
    assert found["total"]["cost_usd"] == 6.0


def test_since(project: Project) -> None:
    """With --since only the calls of that day and later count."""
    day = 86_400
    make_run(project.directory, call(1, 1.0), call(2, 2.0, started=call(1).started + 3 * day))
    [row] = list(
        csv.DictReader(cost(project, "--since", "2026-11-05", "--csv").stdout.splitlines())
    )
    assert (row["cost_usd"], row["calls"]) == ("2", "1")


def test_damage_is_said(project: Project) -> None:
    """A ledger with lines that are no calls is counted without them, with a warning on stderr."""
    run = make_run(project.directory, call(1, 1.0))
    append(run, "rubbish")
    done = cost(project, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["total"]["cost_usd"] == 1.0
    warning = "usage.jsonl: 1 lines are no model calls: not counted"
    assert done.stderr == f"Warning: {run.run_id}: {warning}\n"


@pytest.mark.parametrize(
    "arguments", [["--json", "--csv"], ["--since", "soon"], ["--by", "moon"], ["nobody"]]
)
def test_wrong_arguments(project: Project, arguments: list[str]) -> None:
    """What cannot be meant ends with 1 and nothing on stdout."""
    done = cost(project, *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
