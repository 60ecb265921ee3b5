"""Run directories: what any later process may know of a run. Runs on: host.

`.massgen/` in the working directory holds the log directories and, under `runs/<run_id>/`, the
host-private part. A supervisor holds the lock file of its run for as long as it lives: the kernel
releases it however the process ends, so that "is it alive?" has a true answer after kill -9.
"""

import datetime as dt
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from runner.contract.files import atomic_write, read_bytes
from runner.contract.log_layout import LogLayout
from runner.contract.outcome import RunOutcome
from runner.contract.run_id import is_run_id, log_name, new_run_id
from runner.contract.spec import SOCKET_NAME
from runner.errors import ConfigurationError

MASSGEN_DIR = ".massgen"
UNSEEN_PREFIX = ".new-"
BALLAST_BYTES = 256 * 1024
_MAX_RECORD_BYTES = 1024 * 1024
_CLASHES_BEFORE_GIVING_UP = 1000


class RunRecord(BaseModel):
    """State of a run for later processes: record.json. Times are epoch seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = 1
    run_id: str
    parent_run_id: str | None = None
    root_run_id: str
    depth: int = 0
    state: Literal["created", "running", "exited"] = "created"
    question: str
    log_dir: str
    config_path: str | None = None
    agents: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    """Directories that agents write."""
    engine_url: str | None = None
    image: str | None = None
    container_id: str | None = None
    supervisor_pid: int
    created_at: float
    ended_at: float | None = None
    outcome: RunOutcome | None = None


class RunDirectory(NamedTuple):
    """Paths of one run's host-private directory."""

    root: Path

    @property
    def run_id(self) -> str:
        return self.root.name

    @property
    def record(self) -> Path:
        return self.root / "record.json"

    @property
    def spec(self) -> Path:
        return self.root / "spec.json"

    @property
    def socket_dir(self) -> Path:
        return self.root / "socket"

    @property
    def ledger(self) -> Path:
        return self.root / "usage.jsonl"

    @property
    def cassette(self) -> Path:
        return self.root / "cassette.jsonl"

    @property
    def egress_log(self) -> Path:
        return self.root / "egress.jsonl"

    def agent(self, agent_id: str) -> Path:
        """Return the directory of what belongs to one agent: its sockets and its specs."""
        return self.root / "agents" / agent_id

    @property
    def answers(self) -> Path:
        """Return what agents may see of each other's workspaces; coordination writes it."""
        return self.root / "answers"

    @property
    def lock(self) -> Path:
        return self.root / "supervisor.lock"

    @property
    def ballast(self) -> Path:
        return self.root / "ballast"

    def write_record(self, record: RunRecord) -> None:
        """Replace record.json; on a full disk the ballast makes room."""
        write_on_full_disk(self, self.record, record.model_dump_json(indent=2))

    def read_record(self) -> RunRecord | None:
        """Return the record, or None where it is missing or unreadable."""
        try:
            content = read_bytes(self.root, self.record.name, _MAX_RECORD_BYTES)
            return RunRecord.model_validate_json(content)
        except (OSError, ValidationError):
            return None

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Hold the supervisor's lock.

        Raises BlockingIOError where another process supervises this run.
        """
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)

    def has_supervisor(self) -> bool:
        """Tell whether a living process supervises this run."""
        try:
            with self.supervised():
                return False
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False

    def remove_leftovers(self) -> None:
        """Remove what only a living run needs: the socket and the ballast."""
        (self.socket_dir / SOCKET_NAME).unlink(missing_ok=True)
        self.ballast.unlink(missing_ok=True)


def write_on_full_disk(run: RunDirectory, path: Path, content: str) -> None:
    """Write `path` durably; where the disk is full, give up the run's ballast and try once more."""
    try:
        atomic_write(path, content, durable=True)
    except OSError:
        if not run.ballast.exists():
            raise
        run.ballast.unlink()
        atomic_write(path, content, durable=True)


class NewRun(NamedTuple):
    """A run's fresh directories and identity."""

    run_id: str
    directory: RunDirectory
    log: LogLayout


class RunStore(NamedTuple):
    """The runs of one `.massgen` directory."""

    root: Path

    @property
    def logs(self) -> Path:
        return self.root / "massgen_logs"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def workspaces(self) -> Path:
        return self.root / "workspaces"

    @contextmanager
    def create(self) -> Iterator[NewRun]:
        """Make the directories of a new run and hold its supervisor's lock.

        Two starts at one instant never share a directory, and no other process sees a run
        before it is locked. Raises ConfigurationError where the directories cannot be made.
        """
        with ExitStack() as stack:
            try:
                self.logs.mkdir(parents=True, exist_ok=True)
                self.runs.mkdir(mode=0o700, exist_ok=True)
                log, now = self._new_log_directory()
                directory = stack.enter_context(self._new_run_directory(new_run_id(now)))
            except OSError as error:
                raise ConfigurationError(
                    f"{error.filename or self.root}: cannot make the run's directories "
                    f"({error.strerror}): start from a directory you may write to, with free space"
                ) from error
            yield NewRun(directory.run_id, directory, log)

    @contextmanager
    def _new_run_directory(self, run_id: str) -> Iterator[RunDirectory]:
        unseen = RunDirectory(self.runs / f"{UNSEEN_PREFIX}{run_id}")
        unseen.root.mkdir(mode=0o700)
        unseen.socket_dir.mkdir(mode=0o755)
        unseen.ballast.write_bytes(os.urandom(BALLAST_BYTES))
        with unseen.supervised():
            yield RunDirectory(unseen.root.rename(self.runs / run_id))

    def _new_log_directory(self) -> tuple[LogLayout, dt.datetime]:
        for _ in range(_CLASHES_BEFORE_GIVING_UP):
            now = dt.datetime.now().astimezone()
            log = LogLayout(self.logs / log_name(now))
            try:
                log.root.mkdir()
            except FileExistsError:
                continue
            return log, now
        raise ConfigurationError(f"{self.logs}: no free name for a log directory: try again")

    def new_workspace(self, name: str) -> Path:
        """Make and return `workspaces/<name>_<8 hex>`, unique by construction."""
        # Closed to others: what an agent leaves there may be made to run as its owner.
        self.workspaces.mkdir(mode=0o700, exist_ok=True)
        while True:
            path = self.workspaces / f"{name}_{os.urandom(4).hex()}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path

    def all(self) -> list[RunDirectory]:
        """Return the runs, newest first; entries that are no run directories are passed over."""
        try:
            names = sorted(e.name for e in os.scandir(self.runs) if e.is_dir(follow_symlinks=False))
        except OSError:
            return []
        return [RunDirectory(self.runs / name) for name in reversed(names) if is_run_id(name)]

    def find(self, text: str | None) -> RunDirectory:
        """Return the run named by id, unique part of an id, or log directory; None: the newest.

        Raises ConfigurationError where there is none, or more than one.
        """
        runs = self.all()
        if text is None and runs:
            return runs[0]
        name = Path(text or "").name
        matches = [run for run in runs if name and name in run.run_id] or [
            run for run in runs if name and _log_name(run) == name
        ]
        if len(matches) == 1:
            return matches[0]
        wanted = f"run {name!r}" if name else "run"
        problem = f"{len(matches)} match: give more of the id" if matches else "there is none"
        raise ConfigurationError(
            f"{self.runs}: {wanted}: {problem}: `massgen-runner ps --all` lists the runs here"
        )


def _log_name(run: RunDirectory) -> str | None:
    record = run.read_record()
    return Path(record.log_dir).name if record else None


def store_in(directory: Path) -> RunStore:
    """Return the store of a working directory; nothing is read or made."""
    return RunStore(directory / MASSGEN_DIR)


def new_record(
    new: NewRun, *, question: str, config_path: str | None, agents: tuple[str, ...]
) -> RunRecord:
    """Return the record of a run that was just created by this process."""
    return RunRecord(
        run_id=new.run_id,
        root_run_id=new.run_id,
        question=question,
        log_dir=str(new.log.root),
        config_path=config_path,
        agents=agents,
        supervisor_pid=os.getpid(),
        created_at=time.time(),
    )
