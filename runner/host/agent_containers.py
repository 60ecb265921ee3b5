"""The containers in which a run's agents act: made, explained, replaced, removed. Runs on: host.

A request names an agent and nothing else; image, mounts and limits come from the run's checked
configuration.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

from runner.contract.run_socket import ContainerReply, ContainerRequest
from runner.contract.status import AgentErrorType
from runner.errors import RunnerError
from runner.gateway.refusal import Refusal
from runner.host.agent_container_spec import AgentContainer, agent_arguments, agent_container_name
from runner.host.disk_watch import DiskWatch, Tenant
from runner.host.engine import ContainerState, Engine
from runner.host.stillness import Stillness

MAX_DEATHS = 5
"""How often an agent's container is made anew."""
_DEATH_SECONDS = 5.0
"""How long a container may take to be dead once its tool server is gone."""


class AgentContainers:
    """The agents' containers of one run; an async context manager that removes them all."""

    def __init__(self, engine: Engine, plans: Mapping[str, AgentContainer]) -> None:
        self._agents = {name: _Agent(engine, plan) for name, plan in plans.items()}
        self._watch = DiskWatch({n: a.tenant for n, a in self._agents.items()}, engine.kill)

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._watch.__aexit__(*exc_info)
        await asyncio.gather(*(agent.remove() for agent in self._agents.values()))

    async def answer(self, agent_id: str, request: ContainerRequest) -> ContainerReply:
        """Do what coordination asks for. Raises Refusal."""
        agent = self._agents.get(agent_id)
        if agent is None:
            raise Refusal(404, "this run has no such agent with tools")
        try:
            return await agent.answer(request)
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
        self._deaths = 0
        self.tenant = Tenant(plan.workspace, plan.disk, lambda: self._id)

    async def answer(self, request: ContainerRequest) -> ContainerReply:
        async with self._lock:
            match request.action:
                case "start":
                    await self._start()
                case "replace":
                    return await self._replace()
                case "pause":
                    if self._id is not None:
                        await self._stillness.hold(self._id)
                case "resume":
                    await self._stillness.let_go()
        return ContainerReply()

    async def _start(self) -> None:
        if self._id is None:
            self._check_disk()
            self._id = await asyncio.to_thread(self._create_and_start)

    def _check_disk(self) -> None:
        if why := self.tenant.refusal:
            raise Refusal(409, why, type=AgentErrorType.TOOL)

    def _create_and_start(self) -> str:
        created = self._engine.create(self._name, self._plan.image, agent_arguments(self._plan))
        self._engine.start(created)
        return created

    async def _replace(self) -> ContainerReply:
        death = await asyncio.to_thread(self._buried)
        self._check_disk()
        self._deaths += 1
        if self._deaths > MAX_DEATHS:
            raise Refusal(
                409, f"{death}; it has died {self._deaths} times", type=AgentErrorType.TOOL
            )
        await self._start()
        return ContainerReply(death=death)

    def _buried(self) -> str | None:
        """Wait for the container's death, remove it, and return why it died."""
        if self._id is None:
            return None
        give_up = time.monotonic() + _DEATH_SECONDS
        while (state := self._engine.inspect(self._id)) and state.running:
            if time.monotonic() > give_up:
                break
            time.sleep(0.02)
        death = self.tenant.reason(self._id) or explained(state, self._plan.memory_limit)
        self._engine.remove(self._id)
        self._id = None
        return death

    async def remove(self) -> None:
        async with self._lock:
            with suppress(RunnerError):
                await self._stillness.let_go()
            with suppress(RunnerError):
                await asyncio.to_thread(self._engine.remove, self._id or self._name)


def explained(state: ContainerState | None, memory_limit: str) -> str:
    """Return why a container ended, in a sentence for its agent."""
    if state is None:
        return "The agent's container was removed by somebody"
    if state.oom_killed:
        return f"The agent's container was killed: out of memory, limit {memory_limit}"
    if state.running:
        return "The agent's tool server stopped answering, and its container was ended"
    return f"The agent's container ended with exit code {state.exit_code}"
