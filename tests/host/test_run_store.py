"""Run directories: made without sharing, locked while supervised, found again."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.errors import ConfigurationError
from runner.host.run_store import RunDirectory, RunStore, new_record, store_in


def _finished_run(store: RunStore, question: str = "Why?") -> RunDirectory:
    with store.create() as new:
        new.directory.write_record(
            new_record(new, question=question, config_path=None, agents=("a",))
        )
        return new.directory


def test_runs_started_at_once_share_nothing(tmp_path: Path) -> None:
    """Many starts at one instant get log and run directories of their own."""
    store = store_in(tmp_path)

    def start(_: int) -> tuple[Path, Path]:
        with store.create() as new:
            return new.log.root, new.directory.root

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(start, range(64)))

    assert 64 == len({log for log, _ in made}) == len({run for _, run in made})
    assert all(log.is_dir() and run.is_dir() for log, run in made)


def test_a_run_is_supervised_from_the_moment_it_can_be_seen(tmp_path: Path) -> None:
    """No process finds a run without its supervisor's lock, until the supervisor is done."""
    store = store_in(tmp_path)

    with store.create() as new:
        seen = store.all()
        assert [new.directory] == seen
        assert seen[0].has_supervisor()

    assert not new.directory.has_supervisor()


def test_a_killed_supervisor_is_known_to_be_gone(tmp_path: Path) -> None:
    """kill -9 releases the lock: the kernel does it, nobody else has to."""
    script = (
        "import sys, time; from pathlib import Path; from runner.host.run_store import store_in\n"
        "with store_in(Path(sys.argv[1])).create() as new:\n"
        "    print(new.run_id, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        run = store_in(tmp_path).find(process.stdout.readline().strip())
        assert run.has_supervisor()
        process.send_signal(signal.SIGKILL)

    assert not run.has_supervisor()


def test_runs_are_found_by_id_part_of_id_and_log_directory(tmp_path: Path) -> None:
    """A run answers to its id, a unique part of it, its log directory, and to "the newest"."""
    store = store_in(tmp_path)
    first, second = sorted((_finished_run(store), _finished_run(store)))
    record = first.read_record()
    assert record is not None

    assert first == store.find(first.run_id)
    assert first == store.find(first.run_id[-8:])
    assert first == store.find(record.log_dir)
    assert second == store.find(None)


def test_an_unknown_or_ambiguous_run_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    """The error says what was looked for, and which command lists what there is."""
    store = store_in(tmp_path)
    with pytest.raises(ConfigurationError, match=r"there is none: `massgen-runner ps --all`"):
        store.find(None)
    _finished_run(store)
    _finished_run(store)

    with pytest.raises(ConfigurationError, match="2 match"):
        store.find("20")
    with pytest.raises(ConfigurationError, match="there is none"):
        store.find("../../etc")


def test_a_directory_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    """A file in the way is named, and nothing is left half made."""
    (tmp_path / ".massgen").write_text("")

    with pytest.raises(ConfigurationError, match="cannot make the run's directories"):
        store_in(tmp_path).create().__enter__()


def test_entries_that_are_no_runs_are_passed_over(tmp_path: Path) -> None:
    """Links, files and other names in runs/ do not look like runs."""
    store = store_in(tmp_path)
    run = _finished_run(store)
    (store.runs / "20260101-000000-0123abcd").symlink_to("/etc")
    (store.runs / "notes").mkdir()

    assert [run] == store.all()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run_id": 3}', "\0" * 10])
def test_an_unreadable_record_is_no_record(tmp_path: Path, content: str) -> None:
    """A torn or foreign record.json reads as missing, never as an exception."""
    run = _finished_run(store_in(tmp_path))
    run.record.write_text(content)

    assert run.read_record() is None


def test_a_record_that_is_a_fifo_does_not_block(tmp_path: Path) -> None:
    """A FIFO in the place of record.json is refused at once."""
    run = _finished_run(store_in(tmp_path))
    run.record.unlink()
    os.mkfifo(run.record)

    assert run.read_record() is None
