"""An engine of the user's own, for machines where none runs. Runs on: host.

Everything of it is in one directory below the state directory, where `find_engine` looks last. It
outlives the command that started it, and only the process that its pid file names is ever stopped.
"""

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from runner.config.child_environment import without_keys
from runner.contract.files import atomic_write
from runner.contract.text import one_line
from runner.detached import Detached
from runner.errors import EngineError
from runner.host.engine import connect
from runner.host.engine_address import engine_directory, find_engine, socket_problem
from runner.host.engine_install import install_engine
from runner.host.setup_commands import Say, search_path

START_SECONDS = 60.0
STOP_SECONDS = 40.0
"""The engine gives the containers that it ends 10 to 15 s."""
POLL_SECONDS = 0.1
LOG_TAIL_BYTES = 8192
MAX_FILE_BYTES = 4096
SOCKET_PATH_BYTES = 107

_NO_BRIDGE = ("--iptables=false", "--bridge=none")  # runs need no network
_PLAIN_FILES = ("--storage-driver=vfs",)  # where overlay file systems cannot be stacked
ATTEMPTS: Sequence[Sequence[str]] = ((), _NO_BRIDGE, _PLAIN_FILES, (*_NO_BRIDGE, *_PLAIN_FILES))
"""Options with which dockerd is tried, from the most able engine to the least demanding."""


class EngineFiles(NamedTuple):
    """Paths below the engine's directory; nothing is read or made here."""

    directory: Path

    @property
    def socket(self) -> Path:
        return self.directory / "docker.sock"

    @property
    def pid(self) -> Path:
        return self.directory / "pid"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def options(self) -> Path:
        """The options that worked the last time."""
        return self.directory / "options"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def command(self, dockerd: str, options: Sequence[str]) -> list[str]:
        """Return how the engine is started; it makes the data and exec directories itself."""
        return [
            dockerd,
            f"--data-root={self.directory / 'data'}",
            f"--exec-root={self.directory / 'exec'}",
            f"--pidfile={self.pid}",
            f"--host={self.url}",
            *options,
        ]


def own_engine_files(environ: Mapping[str, str]) -> EngineFiles:
    """Return where the user's own engine is; raises EngineError where that cannot be."""
    directory = engine_directory(environ)
    if directory is None:
        raise EngineError("there is no place for an engine: set HOME or XDG_STATE_HOME")
    files = EngineFiles(directory)
    if len(os.fsencode(files.socket)) > SOCKET_PATH_BYTES:
        raise EngineError(
            f"{files.socket}: too long for a socket: set XDG_STATE_HOME to a shorter directory"
        )
    return files


def ensure_engine(environ: Mapping[str, str], say: Say) -> str:
    """Return the URL of an engine that answers, found, or else installed and started.

    Raises EngineError that says in one sentence what stands in the way and the remedy. An engine
    that the user chose (DOCKER_HOST, DOCKER_CONTEXT) is never replaced by another.
    """
    try:
        return _answering(environ)
    except EngineError:
        if environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT") or not _may_start():
            raise
    files = own_engine_files(environ)
    with _locked(files, say):
        with suppress(EngineError):  # another process has started one meanwhile
            return _answering(environ)
        if _dockerd() is None:
            install_engine(say)
            with suppress(EngineError):  # the package has started its own
                return _answering(environ)
        start_engine(files, _required_dockerd(), say)
    return _answering(environ)


def stop_own_engine(environ: Mapping[str, str]) -> bool:
    """End the engine that `ensure_engine` started; tell whether there was one.

    Raises EngineError where it does not end.
    """
    files = own_engine_files(environ)
    pid = living_pid(files)
    if pid is None:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while living_pid(files) == pid and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if living_pid(files) is None:
            return True
    raise EngineError(f"the engine with process id {pid} does not end: see {files.log}")


def living_pid(files: EngineFiles) -> int | None:
    """Return the process id in the pid file if that process is this very engine."""
    try:
        pid = int(_head(files.pid))
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    ours = f"--pidfile={files.pid}".encode()
    return pid if ours in command and b"dockerd" in command[0] else None


def _answering(environ: Mapping[str, str]) -> str:
    url = find_engine(environ)
    with connect(environ, timeout=20.0) as engine:
        engine.ping()
    return url


def _may_start() -> bool:
    return os.geteuid() == 0 and (_dockerd() is not None or shutil.which("apt-get") is not None)


def _dockerd() -> str | None:
    # /usr/sbin is not on everybody's PATH.
    return shutil.which("dockerd", path=search_path())


def _required_dockerd() -> str:
    dockerd = _dockerd()
    if dockerd is None:
        raise EngineError("dockerd is missing after the installation: install Docker by hand")
    return dockerd


@contextmanager
def _locked(files: EngineFiles, say: Say) -> Iterator[None]:
    files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with files.lock.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is starting the engine: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield  # closing the file unlocks it


def start_engine(files: EngineFiles, dockerd: str, say: Say) -> None:
    """Start the program `dockerd` as an engine in `files`, and return when it answers.

    Raises EngineError with the engine's own reason.
    """
    if living_pid(files) is not None:
        raise EngineError(
            f"the engine at {files.url} runs and does not answer: see {files.log}, and stop it "
            "with `massgen-runner engine stop`"
        )
    say(f"starting an engine in {files.directory}")
    problems = []
    for options in _attempts(files):
        # dockerd takes any living process of that number for itself.
        files.pid.unlink(missing_ok=True)
        files.socket.unlink(missing_ok=True)
        problem = _try(files, files.command(dockerd, options))
        if problem is None:
            atomic_write(files.options, "\n".join(options))
            return
        problems.append(problem)
        say(f"the engine did not start{_with(options)}: {problem}")
    raise EngineError(
        f"no engine can be started here: {problems[-1]}: see {files.log}, or start Docker or "
        "Podman by other means and set DOCKER_HOST"
    )


def _attempts(files: EngineFiles) -> list[Sequence[str]]:
    """Return the options to try; what worked before comes first, since the data are made for it."""
    with suppress(OSError):
        known = tuple(_head(files.options).split())
        if known in ATTEMPTS:
            return [known, *(options for options in ATTEMPTS if options != known)]
    return list(ATTEMPTS)


def _with(options: Sequence[str]) -> str:
    return f" with {' '.join(options)}" if options else ""


def _try(files: EngineFiles, command: Sequence[str]) -> str | None:
    """Start the engine detached and wait until it answers; return the reason if it does not."""
    environment = {**without_keys(os.environ), "PATH": search_path()}
    process = Detached.start(command, files.log, environment)
    try:
        if _comes_up(process, files):
            return None
    except BaseException:
        process.end(STOP_SECONDS)
        raise
    process.end(STOP_SECONDS)
    return _reason(files.log)


def _comes_up(process: Detached, files: EngineFiles) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if socket_problem(files.url) is None and _pings(files):
            return True
        time.sleep(POLL_SECONDS)
    return False


def _pings(files: EngineFiles) -> bool:
    try:
        with connect({"DOCKER_HOST": files.url}, timeout=10.0) as engine:
            engine.ping()
    except EngineError:
        return False
    return True


def _reason(log: Path) -> str:
    """Return the last thing that the engine complained about, in its own words."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOG_TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    said = [line for line in lines if line.strip()]
    failures = [line for line in said if line.startswith("failed ") or "level=fatal" in line]
    chosen = (failures or said)[-1:] or ["it said nothing"]
    return one_line(chosen[0], 400)


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES).decode("utf-8", "replace")
