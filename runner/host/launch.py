"""A run from a checked configuration to its closed books. Runs on: host."""

import asyncio
import datetime as dt
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runner.contract.files import atomic_write
from runner.contract.outcome import RunOutcome
from runner.contract.spec import RunSpec
from runner.contract.text import is_plain_line, one_line
from runner.errors import ConfigurationError
from runner.gateway.credentials import secret_files
from runner.gateway.redaction import Redactor
from runner.host.acting_agents import agent_containers, make_acting_agents
from runner.host.agent_containers import AgentContainers
from runner.host.agent_images import check_agent_images, portable_for
from runner.host.agent_sockets import agent_sockets
from runner.host.books import Books, outcome_of
from runner.host.engine import connect
from runner.host.images import ensure_image, image_tag
from runner.host.masked_output import masked_traceback
from runner.host.metadata import Execution, metadata_yaml
from runner.host.money import money_for
from runner.host.observer import FinishedRun, RunObserver
from runner.host.pacing import pacing_for
from runner.host.reach import Reach, reach_of
from runner.host.run_containers import container_plan, containers_user, lend, run_container
from runner.host.run_request import CurrentRun, ReadyEngine, RunRequest
from runner.host.run_socket import RunSocket
from runner.host.run_spec import (
    AgentRoute,
    agent_routes,
    context_windows,
    replayed_routes,
    run_spec,
)
from runner.host.run_store import store_in
from runner.host.shared_paths import SharedPath, shared_paths
from runner.host.supervisor import supervise
from runner.host.tape import Tape, responses_directory

if TYPE_CHECKING:
    from runner.local_model.progress import Progress, Report


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
    routes = _routes(request)
    reach = _reach(request)
    redactor = request.redactor or Redactor()
    redactor.learn(reach.secrets())
    redactor.learn(route.credential.reveal() for route in routes if route.credential)
    is_paid = request.replay is None
    money = money_for(request.config, routes, request.question, request.environ, is_paid=is_paid)
    pacing = pacing_for(config, request.environ)
    ready = preparing.result()
    image = _run_image(request, ready)
    check_agent_images(request.config, ready.engine)
    _check_one_line(request.cwd)
    shared = _shared_paths(request, ready.engine.url)
    with store_in(request.cwd).create() as new:
        acting = make_acting_agents(config, store_in(request.cwd), new, shared)
        spec = run_spec(
            config,
            new,
            request.question,
            image,
            tools={name: agent.tools for name, agent in acting.items()},
            windows=context_windows(config, money.prices),
            debug=request.debug,
            start_time=time.time(),
        )
        current = CurrentRun(
            request,
            new,
            spec,
            ready,
            image,
            routes,
            money,
            pacing,
            acting,
            reach,
            redactor,
            observer,
        )
        return _carried_out(current)


def _routes(request: RunRequest) -> Sequence[AgentRoute]:
    config = request.config.config
    if request.replay:
        return replayed_routes(config)
    return agent_routes(config, environ=request.environ, cwd=request.cwd)


def _run_image(request: RunRequest, ready: ReadyEngine) -> str:
    """Return the run image's name; one of the user's own has to be there already."""
    own = request.config.config.runner.image
    if own and not ready.has_image:
        raise ConfigurationError(
            f"{request.config.path}: runner.image: the engine has no image {own!r}: build or load "
            "it, or leave the key out"
        )
    return own or image_tag(request.environ)


def _reach(request: RunRequest) -> Reach:
    return reach_of(
        request.config.config,
        environ=request.environ,
        cwd=request.cwd,
        is_replay=request.replay is not None,
    )


def _shared_paths(request: RunRequest, engine_url: str) -> tuple[SharedPath, ...]:
    backends = (agent.backend for agent in request.config.config.agents)
    env_files = [file for each in backends if (file := each.raw_credentials.env_file)]
    socket = engine_url.removeprefix("unix://") if engine_url.startswith("unix://") else None
    return shared_paths(
        request.config.config.orchestrator.context_paths,
        cwd=request.cwd,
        store=store_in(request.cwd).root,
        secret_files=secret_files(request.environ, request.cwd, env_files),
        engine_socket=Path(socket) if socket else None,
    )


def _check_one_line(directory: Path) -> None:
    name = str(directory)
    if not is_plain_line(name):
        raise ConfigurationError(
            f"{one_line(name)!r}: the working directory's name cannot be printed in one line "
            "(it has control characters, or is not UTF-8): start from another one"
        )


def _carried_out(current: CurrentRun) -> FinishedRun:
    books = Books(current)
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


def _write_first_files(current: CurrentRun, books: Books) -> None:
    """Write what readers and the container find; status.json is there before it is announced."""
    new = current.new
    atomic_write(new.log.status, books.first_status.model_dump_json(indent=2))
    new.directory.write_record(books.record)


def _answered(current: CurrentRun, books: Books) -> RunOutcome:
    """Serve the run socket and supervise the container until it is dead."""
    config, new = current.request.config.config, current.new
    user = containers_user(current.ready.info)
    with (
        ThreadPoolExecutor(1) as aside,
        _reachable_routes(current) as routes,
        current.money.granted(new.directory) as limits,
    ):
        aside.submit(_write_metadata, current)
        image = _ensured_image(current)
        portable = portable_for(current, image, user)
        lend(current, user)
        spec = current.spec.model_copy(update={"deadline": _deadline(current.spec)})
        atomic_write(new.directory.spec, spec.model_dump_json(indent=2))
        container = run_container(current, spec, image, user)
        plan = container_plan(current, spec, container)
        agents = agent_containers(current.acting, new, container, portable, current.reach)
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
            containers=AgentContainers(current.ready.engine, agents),
            agents=agent_sockets(current, user.host_uid),
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


def _tape(current: CurrentRun) -> Tape:
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
        secrets=tuple(current.reach.secrets()),
    )


def _warned(observer: RunObserver) -> Callable[[str], None]:
    return lambda sentence: observer.noticed(f"Warning: {sentence}")


def _ensured_image(current: CurrentRun) -> str:
    """Return the run image, built where it is missing; configurations may name their own."""
    if current.ready.has_image:
        return current.image
    return ensure_image(
        current.ready.engine, current.observer.noticed, current.request.children_environ
    )


@contextmanager
def _reachable_routes(current: CurrentRun) -> Iterator[Sequence[AgentRoute]]:
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


def _deadline(spec: RunSpec) -> float:
    """Return when the orchestrator's time is over: it begins once image and models are there."""
    return time.time() + spec.coordination.orchestrator_timeout_seconds


def _write_metadata(current: CurrentRun) -> None:
    """Write execution_metadata.yaml beside the work; a failure is said and ends nothing."""
    try:
        atomic_write(current.new.log.metadata, _metadata(current))
    except OSError as error:
        current.observer.noticed(f"Warning: {current.new.log.metadata}: {error.strerror}")


def _metadata(current: CurrentRun) -> str:
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
