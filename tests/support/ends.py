"""What must hold however a run ended: the truth told, nothing left. Runs on: host."""

import json
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.contract.files import TEMPORARY_PREFIX
from runner.contract.outcome import ExitCode
from runner.contract.status import Status
from tests.support.engine_view import EngineView, processes_marked
from tests.support.massgen import Completed, Project

_TRACEBACK = "Traceback (most recent call last)"
_HEAD = ["LOG_DIR", "STATUS", "QUESTION"]
_SUCCESS = ["WINNER", "ANSWER_FILE", "DURATION", "ANSWER_PREVIEW", "", "COMPLETED"]
_FAILURE = ["ERROR", "DURATION"]


def assert_ended(
    done: Completed, code: ExitCode, engine: EngineView, project: Project, *, ending: bool = True
) -> Status:
    """Check code, stdout, status.json and record.json against each other; return the status.

    `ending=False`: stdout was closed, so that its last lines cannot be there.
    """
    assert done.exit_code == code, f"{done.exit_code} instead of {code!r}: {done}"
    assert _TRACEBACK not in done.stdout + done.stderr
    if ending:
        assert_stdout(done)
    status = done.status
    assert status.meta.outcome is not None, "status.json was left open"
    assert status.meta.outcome.exit_code == code
    assert status.meta.outcome.reason
    assert "\n" not in status.meta.outcome.reason
    assert (status.results.winner is not None) >= (code is ExitCode.SUCCESS)
    assert (status.coordination.completion_percentage == 100) == (code is ExitCode.SUCCESS)
    if code is ExitCode.SUCCESS:
        assert done.log.final_answer(status.results.winner or "").is_file()
    assert_record(status, code)
    assert_nothing_left(engine, project, status.meta.run_id)
    return status


def assert_stdout(done: Completed) -> None:
    """Check that stdout has the lines of automation mode and nothing else."""
    lines = done.stdout.splitlines()
    keys = [line.partition(":")[0] for line in lines]
    assert keys[:3] == _HEAD
    assert lines[3] == "[Coordination in progress - monitor status.json for real-time updates]"
    assert lines[4] == ""
    assert keys[5:] == (_SUCCESS if done.exit_code == 0 else _FAILURE), done


def assert_refused(done: Completed, project: Project, *parts: str) -> None:
    """Check a configuration error: exit 1, nothing on stdout, a line on stderr, nothing made."""
    assert done.exit_code == ExitCode.CONFIGURATION, done
    assert done.stdout == ""
    assert _TRACEBACK not in done.stderr
    for part in parts:
        assert part in done.stderr
    assert not list(project.directory.glob(".massgen/massgen_logs/*"))


def assert_record(status: Status, code: ExitCode) -> None:
    """Check that record.json tells of the same end."""
    runs = Path(status.meta.log_dir).parent.parent / "runs"
    record = json.loads((runs / status.meta.run_id / "record.json").read_bytes())
    assert record["state"] == "exited"
    assert record["outcome"]["exit_code"] == code
    assert record["log_dir"] == status.meta.log_dir


def assert_nothing_left(engine: EngineView, project: Project, *run_ids: str) -> None:
    """Check that no container, process, socket or temporary file of these runs is left."""
    none_left(lambda: [f"{c.name}: {c.status}" for i in run_ids for c in engine.containers(i)])
    none_left(lambda: processes_marked(project.mark))
    assert list(project.tmp.iterdir()) == []
    assert list(_unwanted(project.root)) == []


def none_left(left: Callable[[], list[str]], seconds: float = 10.0) -> None:
    """Wait until `left()` is empty, which the end of a process may take a moment to bring about."""
    deadline = time.monotonic() + seconds
    while remaining := left():
        assert time.monotonic() < deadline, f"still there after {seconds} s: {remaining}"
        time.sleep(0.05)


def _unwanted(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or path.name.startswith(TEMPORARY_PREFIX):
            yield path


def assert_log_valid(done: Completed) -> None:
    """Check the files beside status.json that readers parse."""
    events = json.loads(done.log.events.read_bytes())
    assert [event["event_id"] for event in events] == [f"E{i + 1}" for i in range(len(events))]
    json.loads(done.log.votes.read_bytes())
    json.loads(done.log.snapshot_mappings.read_bytes())
