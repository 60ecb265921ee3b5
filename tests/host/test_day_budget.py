"""What the runs of one day share: taken at the start, given back at the end, true after kills."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import ConfigurationError
from runner.gateway.budget import Limits, picousd
from runner.gateway.ledger import CallRecord, CallState
from runner.host.day_budget import DayBudget, state_directory
from runner.host.run_store import RunDirectory

TODAY = dt.date(2026, 3, 1)
DOLLAR = picousd(1)


def day(tmp_path: Path, date: dt.date = TODAY, usd: float = 10) -> DayBudget:
    return DayBudget(tmp_path / "days", date, Limits(picousd(usd)), "budget.yaml")


def run_directory(tmp_path: Path, name: str) -> RunDirectory:
    root = tmp_path / "runs" / name
    root.mkdir(parents=True)
    return RunDirectory(root)


def spend(run: RunDirectory, usd: float, state: CallState = "settled") -> None:
    record = CallRecord(
        call_id=f"{usd}",
        state=state,
        run_id=run.run_id,
        agent_id="a",
        provider="p",
        model="m",
        started=1,
        input_tokens=1,
        output_tokens=1,
        cost_usd=usd,
    )
    with run.ledger.open("a") as ledger:
        ledger.write(record.model_dump_json() + "\n")


def test_a_run_gives_back_what_it_did_not_use(tmp_path: Path) -> None:
    """While it lasts its whole share is gone; afterwards only what its ledger counts."""
    run = run_directory(tmp_path, "one")

    with day(tmp_path).share(run, Limits(4 * DOLLAR)) as granted:
        with run.supervised():
            assert granted.picousd == 4 * DOLLAR
            assert day(tmp_path).left().picousd == 6 * DOLLAR
        spend(run, 1.5)

    assert day(tmp_path).left().picousd == picousd(8.5)


def test_a_run_gets_no_more_than_is_left(tmp_path: Path) -> None:
    """What a run wants is cut to the rest of the day; the next one is refused with figures."""
    first, second = (run_directory(tmp_path, name) for name in ("one", "two"))
    with (
        first.supervised(),
        second.supervised(),
        day(tmp_path).share(first, Limits(7 * DOLLAR)),
        day(tmp_path).share(second, Limits()) as rest,
    ):
        assert rest.picousd == 3 * DOLLAR
        with pytest.raises(ConfigurationError) as refused:
            day(tmp_path).left()
        said = str(refused.value)
        assert "10.0000 USD of 10.0000 USD taken by 2 runs, with 2 under way" in said
        assert "budget.yaml: per_day" in said


def test_each_day_begins_anew(tmp_path: Path) -> None:
    """What was used yesterday is not missing today."""
    run = run_directory(tmp_path, "one")
    with day(tmp_path).share(run, Limits(10 * DOLLAR)):
        spend(run, 10)
    with pytest.raises(ConfigurationError, match="used up"):
        day(tmp_path).left()
    assert day(tmp_path, TODAY + dt.timedelta(days=1)).left().picousd == 10 * DOLLAR


_KILLED = """
import datetime, os, signal, sys
from pathlib import Path
from tests.host.test_day_budget import DOLLAR, Limits, RunDirectory, day, spend

run = RunDirectory(Path(sys.argv[2]))
with run.supervised(), day(Path(sys.argv[1])).share(run, Limits(9 * DOLLAR)):
    spend(run, 2)
    spend(run, 0.25, "open")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_counts_with_what_its_ledger_says(tmp_path: Path) -> None:
    """Nobody gave its share back: the next run reads what it spent, and what it may have spent."""
    run = run_directory(tmp_path, "one")
    command = [sys.executable, "-c", _KILLED, str(tmp_path), str(run.root)]
    assert subprocess.run(command, check=False).returncode == -9
    assert day(tmp_path).left().picousd == picousd(10 - 2.25)


_RACE = """
import sys
from pathlib import Path
from tests.host.test_day_budget import DOLLAR, Limits, RunDirectory, day

run = RunDirectory(Path(sys.argv[2]))
with run.supervised(), day(Path(sys.argv[1])).share(run, Limits(2 * DOLLAR)) as granted:
    print(granted.picousd, flush=True)
    sys.stdin.read()
"""


def test_runs_that_start_at_once_take_no_more_than_there_is(tmp_path: Path) -> None:
    """The shares of eight processes add up to the day and no further."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _RACE, str(tmp_path), str(run_directory(tmp_path, f"{n}").root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for n in range(8)
    ]
    try:
        shares = [int(p.stdout.readline() or 0) for p in processes if p.stdout]
        assert sum(shares) == 10 * DOLLAR
    finally:
        for process in processes:
            process.communicate()


@pytest.mark.parametrize("content", ["", "[]", '{"shares": {"x": {"taken": [-1, 0, 0]}}}'])
def test_a_file_that_makes_no_sense_is_an_error_and_not_a_fresh_start(
    tmp_path: Path, content: str
) -> None:
    """A budget is not forgotten because its file was damaged: the user decides."""
    (tmp_path / "days").mkdir()
    (tmp_path / "days" / "2026-03-01.json").write_text(content)
    with pytest.raises(ConfigurationError, match="remove it"):
        day(tmp_path).left()


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """So is what to do about it."""
    (tmp_path / "days").write_text("in the way")
    with pytest.raises(ConfigurationError, match="days: the day's budget cannot be kept there"):
        day(tmp_path).left()


def test_the_place_follows_the_environment() -> None:
    """XDG_STATE_HOME where it is absolute, else the home, else nowhere."""
    assert state_directory({"XDG_STATE_HOME": "/s"}) == Path("/s/massgen/days")
    assert state_directory({"XDG_STATE_HOME": "s", "HOME": "/h"}) == Path(
        "/h/.local/state/massgen/days"
    )
    assert state_directory({}) is None


def test_the_file_is_the_users_own(tmp_path: Path) -> None:
    """Nobody else on the machine sees what is spent."""
    with day(tmp_path).share(run_directory(tmp_path, "one"), Limits(DOLLAR)):
        assert (tmp_path / "days").stat().st_mode & 0o077 == 0
        file = tmp_path / "days" / "2026-03-01.json"
        assert json.loads(file.read_text())["shares"]["one"]["used"] is None
