"""What crashed runs leave behind is found and put in order."""

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.contract.outcome import ExitCode
from runner.contract.spec import AgentSpec, RunSpec
from runner.host.cleanup import clean
from runner.host.closing import initial_status, read_status
from runner.host.container_spec import LABEL_OWNER, LABEL_RUN_DIRECTORY, LABEL_RUN_ID
from runner.host.engine import Engine
from runner.host.run_store import NewRun, RunStore, new_record, store_in


def _begin(new: NewRun) -> None:
    """Write what a supervisor writes before it starts a container."""
    record = new_record(new, question="Why?", config_path=None, agents=("agent_a",))
    new.directory.write_record(record.model_copy(update={"state": "running"}))
    spec = RunSpec(
        run_id=new.run_id,
        root_run_id=new.run_id,
        session_id=new.log.root.name,
        log_dir=str(new.log.root),
        question="Why?",
        start_time=record.created_at,
        deadline=record.created_at,
        agents=(AgentSpec(id="agent_a", model="m"),),
    )
    status = initial_status(spec, record.created_at)
    new.log.status.write_text(status.model_dump_json())


def _abandoned(store: RunStore) -> NewRun:
    with store.create() as new:
        _begin(new)
    return new


def test_an_abandoned_run_is_closed(tmp_path: Path) -> None:
    """Its record and status tell that it ended, and why, and readers need not wait for ever."""
    store = store_in(tmp_path)
    new = _abandoned(store)

    assert [("run", new.run_id, "closed")] == list(clean(None, store, dry_run=False))

    record = new.directory.read_record()
    status = read_status(new.log)
    assert record is not None
    assert status is not None
    assert record.state == "exited"
    assert record.outcome == status.meta.outcome
    assert status.meta.outcome is not None
    assert status.meta.outcome.exit_code == ExitCode.EXECUTION
    assert "supervisor" in status.meta.outcome.reason
    assert not new.directory.ballast.exists()
    assert list(clean(None, store, dry_run=False)) == []


def test_the_containers_own_last_word_is_kept(tmp_path: Path) -> None:
    """A run that ended after its supervisor was killed keeps the outcome it wrote itself."""
    store = store_in(tmp_path)
    new = _abandoned(store)
    status = json.loads(new.log.status.read_text())
    status["meta"]["outcome"] = {"exit_code": 2, "name": "execution", "reason": "nobody answers"}
    new.log.status.write_text(json.dumps(status))

    list(clean(None, store, dry_run=False))

    record = new.directory.read_record()
    assert record is not None
    assert record.outcome is not None
    assert record.outcome.reason == "nobody answers"


def test_a_run_that_is_alive_is_left_alone(tmp_path: Path) -> None:
    """Nothing of a run is touched while its supervisor lives."""
    store = store_in(tmp_path)
    with store.create() as new:
        _begin(new)

        assert list(clean(None, store, dry_run=False)) == []

        record = new.directory.read_record()
        assert record is not None
        assert record.state == "running"


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    """It says what would be done, and does nothing of it."""
    store = store_in(tmp_path)
    new = _abandoned(store)
    before = new.directory.record.read_bytes(), new.log.status.read_bytes()

    assert [("run", new.run_id, "closed")] == list(clean(None, store, dry_run=True))
    assert before == (new.directory.record.read_bytes(), new.log.status.read_bytes())


def test_a_start_that_was_killed_early_is_removed(tmp_path: Path) -> None:
    """A directory that never became a run goes, its links unfollowed."""
    store = store_in(tmp_path)
    store.runs.mkdir(parents=True)
    unseen = store.runs / ".new-20260101-000000-0123abcd"
    unseen.mkdir()
    (tmp_path / "kept").mkdir()
    (store.runs / ".new-link").symlink_to(tmp_path / "kept")
    (unseen / "link").symlink_to(tmp_path / "kept")

    list(clean(None, store, dry_run=False))

    assert not unseen.exists()
    assert (tmp_path / "kept").is_dir()


def _hostile_fifo(path: Path) -> None:
    os.mkfifo(path)


def _hostile_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _hostile_text(path: Path) -> None:
    path.write_text('{"meta": "\\u0000"}')


@pytest.mark.parametrize("make", [_hostile_fifo, _hostile_link, _hostile_text])
def test_a_hostile_status_is_replaced(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    """Whatever lies in the place of status.json, a valid and closed one is there afterwards."""
    store = store_in(tmp_path)
    new = _abandoned(store)
    new.log.status.unlink()
    make(new.log.status)

    list(clean(None, store, dry_run=False))

    status = read_status(new.log)
    assert status is not None
    assert status.meta.outcome is not None


@pytest.mark.docker
def test_containers_without_a_supervisor_are_removed(tmp_path: Path, engine: Engine) -> None:
    """A left-over container goes; those of living runs and of other users stay."""
    store = store_in(tmp_path)
    image = next(i.tags[0] for i in engine.list_images({"dev.runner.image": None}) if i.tags)
    gone = _abandoned(store)
    others = []

    def container(labels: dict[str, str]) -> str:
        name = f"runner-test-{uuid.uuid4().hex[:8]}"
        body = {"Entrypoint": ["true"], "Labels": labels, "HostConfig": {"NetworkMode": "none"}}
        others.append(engine.create(name, image, body))
        return others[-1]

    def labels(new: NewRun, owner: int) -> dict[str, str]:
        directory = str(new.directory.root)
        return {LABEL_RUN_ID: new.run_id, LABEL_RUN_DIRECTORY: directory, LABEL_OWNER: str(owner)}

    try:
        with store.create() as alive:
            _begin(alive)
            left = container(labels(gone, os.getuid()))
            kept = [
                container(labels(alive, os.getuid())),
                container(labels(gone, os.getuid() + 1)),
            ]

            done = list(clean(engine, store, dry_run=False))

            assert ("run", gone.run_id, "closed") in done
            assert engine.inspect(left) is None
            assert all(engine.inspect(other) is not None for other in kept)
    finally:
        for identity in others:
            engine.remove(identity)
