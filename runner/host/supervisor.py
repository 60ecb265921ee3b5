"""Own a run container from its creation to its removal, and say how it ended. Runs on: host."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, NamedTuple

from runner.contract.log_layout import LogLayout
from runner.contract.outcome import RunOutcome
from runner.errors import RunnerError
from runner.host.closing import final_answer_exists, read_status
from runner.host.diagnostics import Death, EndedBy, explain
from runner.host.engine import ContainerMissingError, ContainerState, Engine, EngineGoneError
from runner.host.interrupts import Interrupts, handled_interrupts
from runner.host.monitor import follow_status
from runner.host.observer import RunObserver

POLITE_END_SECONDS = 5.0
"""How long a container may take to finish writing after SIGTERM."""
OUTSIDE_GRACE_SECONDS = 10.0
"""How much later than the container itself the host enforces the time limit."""
ENGINE_RETURN_SECONDS = 30.0
"""How long an engine may take to come back from a restart."""
REMOVAL_SECONDS = 15.0
"""How long a removal is tried while the engine does not carry it out."""
_ENGINE_RETRY_SECONDS = 0.5
_KILL_SECONDS = 10.0


class ContainerPlan(NamedTuple):
    """What the supervisor needs to know about a run's container."""

    name: str
    image: str
    config: Mapping[str, Any]
    log: LogLayout
    deadline: float
    """Epoch seconds at which the container should have ended by itself."""
    time_limit_seconds: float
    memory_limit: str
    keep: bool = False


class RunContainer:
    """One container; every call to the engine happens in a thread."""

    def __init__(self, engine: Engine, plan: ContainerPlan) -> None:
        self._engine = engine
        self._plan = plan
        self.id: str | None = None

    async def start(self) -> str:
        """Create and start the container, and return its id."""
        return await asyncio.to_thread(self._create_and_start)

    def _create_and_start(self) -> str:
        """Do both in one thread: the loop may be busy importing in between."""
        plan = self._plan
        self.id = self._engine.create(plan.name, plan.image, plan.config)
        self._engine.start(self.id)
        return self.id

    async def wait(self) -> int | None:
        """Return the exit code once the container is dead, None if it has vanished.

        Raises EngineGoneError where the engine is lost and does not come back in time.
        """
        while True:
            try:
                return await _in_daemon_thread(self._engine.wait, self._known_id())
            except ContainerMissingError:
                return None
            except EngineGoneError:
                state = await self._state_after_restart()
                if state is None or not state.running:
                    return state.exit_code if state else None

    async def _state_after_restart(self) -> ContainerState | None:
        give_up = time.monotonic() + ENGINE_RETURN_SECONDS
        while True:
            try:
                return await asyncio.to_thread(self._engine.inspect, self._known_id())
            except RunnerError:
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(_ENGINE_RETRY_SECONDS)

    async def signal(self, name: str) -> None:
        """Send a signal; a container that is dead, or an engine that is gone, is no error."""
        with suppress(RunnerError):
            await asyncio.to_thread(self._engine.kill, self._known_id(), name)

    async def post_mortem(self, death: Death) -> Death:
        """Return `death` with what the engine still knows about the container."""
        try:
            state = await asyncio.to_thread(self._engine.inspect, self._known_id())
            if state is None:
                return death._replace(exists=False)
            tail = "" if state.exit_code == 0 else await self._log_tail()
            return death._replace(
                exit_code=state.exit_code,
                oom_killed=state.oom_killed,
                engine_error=state.error,
                log_tail=tail,
            )
        except RunnerError:
            return death._replace(engine_gone=True)

    async def _log_tail(self) -> str:
        try:
            return await asyncio.to_thread(self._engine.logs, self._known_id(), 20)
        except RunnerError:
            return ""

    async def remove(self) -> bool:
        """Remove the container and tell whether it is gone; an engine that restarts is waited for.

        By name where the id is unknown: a creation can succeed and its answer be lost.
        """
        give_up = time.monotonic() + REMOVAL_SECONDS
        while True:
            try:
                await asyncio.to_thread(self._engine.remove, self._known_id())
            except RunnerError:
                if time.monotonic() > give_up:
                    return False
                await asyncio.sleep(_ENGINE_RETRY_SECONDS)
            else:
                return True

    def _known_id(self) -> str:
        return self.id or self._plan.name


async def _in_daemon_thread(function: Callable[[str], int], container_id: str) -> int:
    """Await a call that may block for ever; the process can end without it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()

    def settle(result: int, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def call() -> None:
        result, failure = 0, None
        try:
            result = function(container_id)
        except Exception as error:  # handed to the awaiting task
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=call, name=function.__name__, daemon=True).start()
    return await future


async def supervise(
    engine: Engine,
    plan: ContainerPlan,
    observer: RunObserver,
    serve: Callable[[], AbstractAsyncContextManager[object]],
    started: Callable[[str], None],
) -> RunOutcome:
    """Start the planned container, wait for its end and return the true outcome.

    `serve` opens the run socket; it is imported and opened while the container boots.
    Raises EngineError or ExecutionError where the container cannot be started.
    """
    with handled_interrupts() as interrupts:
        async with _owned(engine, plan, observer) as container:
            starting = asyncio.ensure_future(container.start())
            await asyncio.sleep(0)  # the thread is on its way before the import holds the loop
            async with serve():
                started(await starting)
                async with _progress(plan.log, observer):
                    death = await _await_death(container, plan, interrupts)
                return explain(await _examined(container, plan, death))


@asynccontextmanager
async def _owned(
    engine: Engine, plan: ContainerPlan, observer: RunObserver
) -> AsyncIterator[RunContainer]:
    container = RunContainer(engine, plan)
    try:
        yield container
    finally:
        if not plan.keep and not await asyncio.shield(container.remove()):
            observer.noticed(
                f"{plan.name} could not be removed: massgen-runner clean does it later"
            )


async def _await_death(
    container: RunContainer, plan: ContainerPlan, interrupts: Interrupts
) -> Death:
    dead = asyncio.ensure_future(container.wait())
    ended_by = await _first_end(dead, plan, interrupts)
    if ended_by is not EndedBy.ITSELF:
        await container.signal("SIGTERM")
        await _wait_for_any(dead, interrupts.second.wait(), timeout=POLITE_END_SECONDS)
    if not dead.done():
        await container.signal("SIGKILL")
        await _wait_for_any(dead, timeout=_KILL_SECONDS)
    try:
        return Death(ended_by, exists=dead.done() and dead.result() is not None)
    except EngineGoneError:
        return Death(ended_by, engine_gone=True)
    finally:
        dead.cancel()


async def _first_end(
    dead: asyncio.Future[int | None], plan: ContainerPlan, interrupts: Interrupts
) -> EndedBy:
    remaining = max(0.0, plan.deadline + OUTSIDE_GRACE_SECONDS - time.time())
    await _wait_for_any(dead, interrupts.first.wait(), timeout=remaining)
    if dead.done():
        return EndedBy.ITSELF
    return EndedBy.INTERRUPT if interrupts.first.is_set() else EndedBy.DEADLINE


async def _wait_for_any(dead: asyncio.Future[Any], *others: Any, timeout: float) -> None:
    tasks = [asyncio.ensure_future(other) for other in others]
    await asyncio.wait({dead, *tasks}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _examined(container: RunContainer, plan: ContainerPlan, death: Death) -> Death:
    if not death.engine_gone:
        death = await container.post_mortem(death)
    status = read_status(plan.log)
    winner = status.results.winner if status else None
    return death._replace(
        claimed=status.meta.outcome if status else None,
        answer_on_disk=final_answer_exists(plan.log, winner),
        memory_limit=plan.memory_limit,
        time_limit_seconds=plan.time_limit_seconds,
    )


@asynccontextmanager
async def _progress(log: LogLayout, observer: RunObserver) -> AsyncIterator[None]:
    """Pass changes of the status on for as long as the block lasts."""
    if not observer.wants_progress:
        yield
        return
    task = asyncio.ensure_future(_pass_on(log, observer))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _pass_on(log: LogLayout, observer: RunObserver) -> None:
    async for status in follow_status(log):
        observer.progressed(status)
