"""A run from a checked configuration to its closed books. Runs on: host."""

import asyncio
import datetime as dt
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runner.config.child_environment import without_keys
from runner.config.load import LoadedConfig
from runner.contract.files import atomic_write
from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.spec import RunSpec
from runner.contract.status import Status
from runner.contract.text import is_plain_line, one_line
from runner.contract.usage import RunUsage
from runner.errors import ConfigurationError, RunnerError
from runner.gateway.redaction import Redactor
from runner.host import ownership
from runner.host.closing import close_record, close_status, initial_status
from runner.host.container_spec import (
    DEFAULT_CPUS,
    ContainerUser,
    Limits,
    RunContainer,
    container_name,
    container_user,
    create_arguments,
)
from runner.host.diagnostics import INTERRUPTED
from runner.host.engine import Engine, EngineInfo, connect
from runner.host.images import ensure_image, image_tag
from runner.host.interrupts import signals_ignored
from runner.host.masked_output import masked_traceback
from runner.host.metadata import Execution, metadata_yaml
from runner.host.money import Money, money_for
from runner.host.observer import FinishedRun, RunObserver
from runner.host.pacing import Pacing, pacing_for
from runner.host.run_socket import RunSocket
from runner.host.run_spec import AgentRoute, agent_routes, replayed_routes, run_spec
from runner.host.run_store import NewRun, new_record, store_in
from runner.host.supervisor import ContainerPlan, supervise
from runner.host.tape import Replay, Tape, responses_directory

if TYPE_CHECKING:
    from runner.local_model.progress import Progress, Report


class RunRequest(NamedTuple):
    """What somebody wants to have run."""

    config: LoadedConfig
    question: str
    cwd: Path
    environ: Mapping[str, str]
    """Where credentials are looked for; programs that the run starts get it without them."""
    cli_args: Sequence[str] = ()
    keep_container: bool = False
    keep_log: bool = True
    debug: bool = False
    replay: Replay | None = None
    """The cassette that answers instead of the providers."""
    ends_process: bool = False
    """Nothing but the exit follows in this process: signals stay ignored after the run's end."""
    redactor: Redactor | None = None
    """Learns the credentials that the run loads."""

    @property
    def children_environ(self) -> Mapping[str, str]:
        return without_keys(self.environ, self.config.config.key_variables)


class ReadyEngine(NamedTuple):
    """An engine that answers, and what it is."""

    engine: Engine
    info: EngineInfo
    has_image: bool


class _Run(NamedTuple):
    """A run between its announcement and its end."""

    request: RunRequest
    new: NewRun
    spec: RunSpec
    ready: ReadyEngine
    image: str
    routes: Sequence[AgentRoute]
    money: Money
    pacing: Pacing
    redact: Redactor
    observer: RunObserver


def engine_in_background(environ: Mapping[str, str], image: str | None) -> "Future[ReadyEngine]":
    """Connect to the engine in a thread; importing its client takes a tenth of a second."""
    future: Future[ReadyEngine] = Future()

    def prepare() -> None:
        try:
            engine = connect(environ)
            found = engine.has_image(image or image_tag(environ))
            future.set_result(ReadyEngine(engine, engine.info(), found))
        except BaseException as error:  # handed to whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=prepare, name="engine", daemon=True).start()
    return future


def run(
    request: RunRequest, observer: RunObserver, engine: "Future[ReadyEngine] | None" = None
) -> FinishedRun:
    """Carry out one run; however it ends, its books are closed and its container is gone.

    Raises ConfigurationError where nothing was started: keys, engine, budget, or no room for the
    log.
    """
    config = request.config.config
    preparing = engine or engine_in_background(request.environ, config.runner.image)
    routes = (
        replayed_routes(config)
        if request.replay
        else agent_routes(config, environ=request.environ, cwd=request.cwd)
    )
    redactor = request.redactor or Redactor()
    redactor.learn(route.credential.reveal() for route in routes if route.credential)
    is_paid = request.replay is None
    money = money_for(request.config, routes, request.question, request.environ, is_paid=is_paid)
    pacing = pacing_for(config, request.environ)
    ready = preparing.result()
    image = config.runner.image or image_tag(request.environ)
    if config.runner.image and not ready.has_image:
        raise ConfigurationError(
            f"{request.config.path}: runner.image: the engine has no image {config.runner.image!r}:"
            " build or load it, or leave the key out"
        )
    _check_one_line(request.cwd)
    with store_in(request.cwd).create() as new:
        spec = run_spec(
            config, new, request.question, image, debug=request.debug, start_time=time.time()
        )
        current = _Run(request, new, spec, ready, image, routes, money, pacing, redactor, observer)
        return _carried_out(current)


def _check_one_line(directory: Path) -> None:
    name = str(directory)
    if not is_plain_line(name):
        raise ConfigurationError(
            f"{one_line(name)!r}: the working directory's name cannot be printed in one line "
            "(it has control characters, or is not UTF-8): start from another one"
        )


def _carried_out(current: _Run) -> FinishedRun:
    books = _Books(current)
    try:
        _write_first_files(current, books)
        current.observer.announced(current.new.run_id, current.new.log, current.request.question)
        outcome = _answered(current, books)
    except BaseException as error:
        finished = books.close(outcome_of(error, current.redact))
        if not isinstance(error, Exception | KeyboardInterrupt):
            raise
        if current.request.debug:
            print(masked_traceback(error, current.redact), end="", file=sys.stderr)
        return finished
    return books.close(outcome)


def outcome_of(error: BaseException, redact: Callable[[str], str] = str) -> RunOutcome:
    """Return the outcome that an exception stands for; `redact` masks its message."""
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
        return RunOutcome.of(ExitCode.INTERRUPTED, INTERRUPTED)
    if isinstance(error, RunnerError):
        return RunOutcome.of(error.exit_code, one_line(redact(str(error))))
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return RunOutcome.of(ExitCode.EXECUTION, one_line(f"{where}{error.strerror or error}"))
    return RunOutcome.of(
        ExitCode.EXECUTION, one_line(redact(f"internal error: {type(error).__name__}: {error}"))
    )


class _Books:
    """What is to be closed when a run is over, whatever ended it."""

    def __init__(self, current: _Run) -> None:
        self._current = current
        self.first_status = initial_status(current.spec, time.time())
        self.usage: RunUsage | None = None
        self.record = new_record(
            current.new,
            question=one_line(current.request.question, 500),
            config_path=current.request.config.path,
            agents=tuple(agent.id for agent in current.spec.agents),
        ).model_copy(update={"engine_url": current.ready.engine.url, "image": current.spec.image})

    def note_container(self, container_id: str) -> None:
        """Write down which container carries the run out."""
        self.record = self.record.model_copy(
            update={"state": "running", "container_id": container_id}
        )
        self._current.new.directory.write_record(self.record)

    def close(self, outcome: RunOutcome) -> FinishedRun:
        """Write the last status and record, tell the observer, and return the finished run."""
        new = self._current.new
        with signals_ignored(for_good=self._current.request.ends_process):
            _take_back(new)
            try:
                status = close_status(
                    new.directory, new.log, self.first_status, outcome, self.usage
                )
                close_record(new.directory, self.record, outcome)
            except OSError as error:
                status = self.first_status
                outcome = outcome if outcome.exit_code else outcome_of(error)
            finished = self._finished(outcome, status)
            self._current.observer.ended(finished)
            if not self._current.request.keep_log:
                _remove_log(new)
        return finished

    def _finished(self, outcome: RunOutcome, status: Status) -> FinishedRun:
        log, winner = self._current.new.log, status.results.winner
        return FinishedRun(
            run_id=self._current.new.run_id,
            log=log,
            outcome=outcome,
            status=status,
            answer_file=log.final_answer(winner) if winner else None,
            duration_seconds=time.time() - self.record.created_at,
        )


def _take_back(new: NewRun) -> None:
    if os.getuid() == 0:
        with suppress(OSError):
            ownership.give(new.log.root, 0, os.getgid())


def _remove_log(new: NewRun) -> None:
    shutil.rmtree(new.log.root, ignore_errors=True)
    shutil.rmtree(new.directory.root, ignore_errors=True)


def _write_first_files(current: _Run, books: _Books) -> None:
    """Write what readers and the container find; status.json is there before it is announced."""
    new, request = current.new, current.request
    atomic_write(new.log.status, books.first_status.model_dump_json(indent=2))
    new.directory.write_record(books.record)
    for agent in request.config.config.agents:
        if agent.backend.cwd:
            store_in(request.cwd).new_workspace(Path(agent.backend.cwd).name)


def _answered(current: _Run, books: _Books) -> RunOutcome:
    """Serve the run socket and supervise the container until it is dead."""
    config, new = current.request.config.config, current.new
    user = _user(current.ready.info)
    with (
        ThreadPoolExecutor(1) as aside,
        _reachable_routes(current) as routes,
        current.money.granted(new.directory) as limits,
    ):
        aside.submit(_write_metadata, current)
        image = _ensured_image(current)
        _lend(new, user)
        spec = current.spec.model_copy(update={"deadline": _deadline(current.spec)})
        atomic_write(new.directory.spec, spec.model_dump_json(indent=2))
        plan = _container_plan(current, spec, image, user)
        tape = _tape(current)
        service = RunSocket(
            new,
            config.runner,
            routes,
            owner_uid=user.host_uid,
            money=current.money,
            limits=limits,
            pacing=current.pacing,
            notify=_warned(current.observer),
            tape=tape,
        )
        try:
            outcome = asyncio.run(
                supervise(
                    current.ready.engine,
                    plan,
                    current.observer,
                    service.serve,
                    books.note_container,
                )
            )
            return tape.judged(outcome)
        finally:
            books.usage = service.usage()
            tape.close()


def _tape(current: _Run) -> Tape:
    request = current.request
    cassette = current.new.directory.cassette
    settings = request.config.config.runner
    return Tape(
        record_to=cassette if settings.record else None,
        cache_in=responses_directory(request.environ) if settings.cache else None,
        question=request.question,
        config=request.config.resolved,
        replay=request.replay,
        noticed=current.observer.noticed,
    )


def _warned(observer: RunObserver) -> Callable[[str], None]:
    return lambda sentence: observer.noticed(f"Warning: {sentence}")


def _ensured_image(current: _Run) -> str:
    """Return the run image, built where it is missing; configurations may name their own."""
    if current.ready.has_image:
        return current.image
    return ensure_image(
        current.ready.engine, current.observer.noticed, current.request.children_environ
    )


@contextmanager
def _reachable_routes(current: _Run) -> Iterator[Sequence[AgentRoute]]:
    """Yield the routes, those to the local model completed, its server kept for the block."""
    if not any(route.is_local for route in current.routes):
        yield current.routes
        return
    from runner.local_model.lease import local_model

    with local_model(
        _steps(current.observer.noticed), current.request.children_environ
    ) as endpoint:
        yield [
            route.served_by(endpoint.base_url, endpoint.api_key) if route.is_local else route
            for route in current.routes
        ]


def _steps(noticed: Callable[[str], None]) -> "Report":
    """Return a report that passes each step on once, without its running byte counts."""
    seen: set[str] = set()

    def report(progress: "Progress") -> None:
        if progress.message not in seen:
            seen.add(progress.message)
            noticed(progress.message)

    return report


def _user(info: EngineInfo) -> ContainerUser:
    return container_user(
        os.getuid(), os.getgid(), rootless=info.rootless, userns_remap=info.userns_remap
    )


def _lend(new: NewRun, user: ContainerUser) -> None:
    if user.host_uid != os.getuid():
        ownership.give(new.log.root, user.host_uid, user.host_uid)


def _container_plan(current: _Run, spec: RunSpec, image: str, user: ContainerUser) -> ContainerPlan:
    new = current.new
    settings = current.request.config.config.runner
    limit = spec.coordination.orchestrator_timeout_seconds
    container = RunContainer(
        run_id=spec.run_id,
        parent_run_id=spec.parent_run_id,
        root_run_id=spec.root_run_id,
        image=image,
        user=user,
        limits=Limits(settings.memory_bytes, settings.cpus or DEFAULT_CPUS, settings.pids),
        log_dir=new.log.root,
        spec_file=new.directory.spec,
        socket_dir=new.directory.socket_dir,
        run_directory=new.directory.root,
        owner_uid=os.getuid(),
    )
    return ContainerPlan(
        name=container_name(spec.run_id),
        image=image,
        config=create_arguments(container),
        log=new.log,
        deadline=spec.deadline,
        time_limit_seconds=limit,
        memory_limit=settings.memory,
        keep=current.request.keep_container,
    )


def _deadline(spec: RunSpec) -> float:
    """Return when the orchestrator's time is over: it begins once image and models are there."""
    return time.time() + spec.coordination.orchestrator_timeout_seconds


def _write_metadata(current: _Run) -> None:
    """Write execution_metadata.yaml beside the work; a failure is said and ends nothing."""
    try:
        atomic_write(current.new.log.metadata, _metadata(current))
    except OSError as error:
        current.observer.noticed(f"Warning: {current.new.log.metadata}: {error.strerror}")


def _metadata(current: _Run) -> str:
    request = current.request
    info = current.ready.info
    execution = Execution(
        question=request.question,
        config_path=request.config.path,
        config=request.config.resolved,
        cli_args=request.cli_args,
        working_directory=request.cwd,
        image=current.spec.image,
        engine=f"{info.name} {info.version}",
        models={agent.id: agent.model for agent in current.spec.agents},
    )
    return metadata_yaml(execution, dt.datetime.now().astimezone())
