"""The containers in which a run's agents act: made, explained, replaced, removed. Runs on: host.

A request names an agent and nothing else; image, mounts and limits come from the run's checked
configuration.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Self

from runner.contract.run_socket import ContainerReply, ContainerRequest
from runner.contract.status import AgentErrorType
from runner.contract.text import one_line
from runner.errors import RunnerError
from runner.gateway.refusal import Refusal
from runner.host.agent_container_spec import AgentContainer, agent_arguments, agent_container_name
from runner.host.diagnostics import last_line
from runner.host.disk_watch import DiskWatch, Tenant
from runner.host.engine import ContainerState, Engine, EngineGoneError
from runner.host.stillness import Stillness

MAX_DEATHS = 5
"""How often an agent's container is made anew."""
_DEATH_SECONDS = 5.0
"""How long a container may take to be dead once its tool server is gone."""
_LOOK_SECONDS = 0.02
_ENGINE_RETRY_SECONDS = 0.5
REMOVAL_SECONDS = 15.0
"""How long a removal is tried while the engine does not carry it out."""
_REASON_CHARS = 300
_log = logging.getLogger(__name__)


class AgentContainers:
    """The agents' containers of one run; an async context manager that removes them all."""

    def __init__(
        self,
        engine: Engine,
        plans: Mapping[str, AgentContainer],
        notify: Callable[[str], None] = _log.warning,
    ) -> None:
        self._agents = {name: _Agent(engine, plan) for name, plan in plans.items()}
        self._watch = DiskWatch({n: a.tenant for n, a in self._agents.items()}, engine.kill)
        self._notify = notify

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._watch.__aexit__(*exc_info)
        await asyncio.shield(self._remove_all())

    async def _remove_all(self) -> None:
        left = await asyncio.gather(*(agent.close() for agent in self._agents.values()))
        for name in filter(None, left):
            self._notify(f"{name} could not be removed: massgen-runner clean does it later")

    async def answer(self, agent_id: str, request: ContainerRequest) -> ContainerReply:
        """Do what coordination asks for, to the end even where it hangs up. Raises Refusal."""
        agent = self._agents.get(agent_id)
        if agent is None:
            raise Refusal(404, "this run has no such agent with tools")
        try:
            # Half a start would leave a container that nobody knows the id of.
            return await asyncio.shield(asyncio.ensure_future(agent.answer(request)))
        except RunnerError as error:
            raise Refusal(503, str(error), type=AgentErrorType.TOOL) from error


class _Agent:
    """One agent's container, and how often it has died."""

    def __init__(self, engine: Engine, plan: AgentContainer) -> None:
        self._engine = engine
        self._plan = plan
        self._name = agent_container_name(plan.run_id, plan.agent_id)
        self._lock = asyncio.Lock()
        self._stillness = Stillness(engine)
        self._id: str | None = None
        self._may_exist = False
        """A creation was asked for; its answer may be lost."""
        self._deaths = 0
        self._last_death = ""
        self._is_closed = False
        self.tenant = Tenant(plan.workspace, plan.disk, lambda: self._id)

    async def answer(self, request: ContainerRequest) -> ContainerReply:
        async with self._lock:
            if self._is_closed:
                raise Refusal(409, "the run is over", type=AgentErrorType.TOOL)
            match request.action:
                case "start":
                    return await asyncio.to_thread(self._alive, None)
                case "replace":
                    return await asyncio.to_thread(self._alive, _DEATH_SECONDS)
                case "pause":
                    if self._id is not None:
                        await self._stillness.hold(self._id)
                case "resume":
                    await self._stillness.let_go()
        return ContainerReply()

    def _alive(self, death_seconds: float | None) -> ContainerReply:
        """Have a living container; return why the one before it died, if it did.

        `death_seconds`: how long one whose tool server is gone may take to be dead before it is
        ended; None where it may be alive and well.
        """
        death = self._buried(death_seconds) if self._id else None
        if self._id is None:
            self._check_deaths(death)
            self._create_and_start()
        return ContainerReply(death=death)

    def _check_deaths(self, death: str | None) -> None:
        if why := self.tenant.refusal:
            raise Refusal(409, why, type=AgentErrorType.TOOL)
        if death is not None:
            self._deaths += 1
            self._last_death = death
        if self._deaths > MAX_DEATHS:
            why = f"{self._last_death}; it has died {self._deaths} times, and is not made anew"
            raise Refusal(409, why, type=AgentErrorType.TOOL)

    def _create_and_start(self) -> None:
        if self._may_exist:
            self._engine.remove(self._name)
        self._may_exist = True
        created = self._engine.create(self._name, self._plan.image, agent_arguments(self._plan))
        self._engine.start(created)
        self._id = created

    def _buried(self, death_seconds: float | None) -> str | None:
        """Remove the container where it is dead, or has to be, and return why it died."""
        assert self._id is not None  # noqa: S101  # for the type checker
        give_up = time.monotonic() + (death_seconds or 0.0)
        while (state := self._engine.inspect(self._id)) and state.running:
            if death_seconds is None:
                return None
            if time.monotonic() > give_up:
                break
            time.sleep(_LOOK_SECONDS)
        death = self.tenant.reason(self._id) or explained(
            state, self._plan.memory_limit, self._last_words(self._id)
        )
        self._engine.remove(self._id)
        self._id = None
        return death

    def _last_words(self, container_id: str) -> str:
        try:
            return last_line(self._engine.logs(container_id, 20))
        except EngineGoneError:
            raise
        except RunnerError:
            return ""

    async def close(self) -> str | None:
        """Remove the container for good; return its name where that failed.

        Whoever asks for one from now on is refused; an engine that restarts is waited for.
        """
        self._is_closed = True
        async with self._lock:
            with suppress(RunnerError):
                await self._stillness.let_go()
            give_up = time.monotonic() + REMOVAL_SECONDS
            while self._may_exist:
                try:
                    await asyncio.to_thread(self._engine.remove, self._id or self._name)
                except RunnerError:
                    if time.monotonic() > give_up:
                        return self._name
                    await asyncio.sleep(_ENGINE_RETRY_SECONDS)
                else:
                    self._may_exist = False
        return None


def explained(state: ContainerState | None, memory_limit: str, said: str = "") -> str:
    """Return why a container ended, in a sentence for its agent; `said`: the log's last line."""
    if state is None:
        return "The agent's container was removed by somebody"
    if state.oom_killed:
        return f"The agent's container was killed: out of memory, limit {memory_limit}"
    if state.running:
        return "The agent's tool server stopped answering, and its container was ended"
    if state.error:
        return f"The agent's container could not run: {one_line(state.error, _REASON_CHARS)}"
    last = f": {said}" if said else ""
    return f"The agent's container ended with exit code {state.exit_code}{last}"
