"""Serve the sockets of a run's agents: model and services, and the egress proxy. Runs on: host.

What serves them is imported only for the runs that have it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from runner.config.network import NetworkConfig
from runner.gateway.redaction import Redactor
from runner.host.reach import Reach
from runner.host.run_request import CurrentRun

if TYPE_CHECKING:
    from aiohttp import web

    from runner.gateway.agent_socket import AnswerService
    from runner.gateway.egress_meter import EgressMeter
    from runner.gateway.server import Gateway


class AgentSockets(NamedTuple):
    """The sockets of a run's agents, before they are served."""

    directories: Mapping[str, Path]
    """Agent id → the directory in which its sockets are; the host's own."""
    reach: Reach
    network: NetworkConfig
    egress_log: Path
    """In the run's private directory."""
    owner_uid: int
    redactor: Redactor

    @asynccontextmanager
    async def serve(self, gateway: "Gateway") -> AsyncIterator[None]:
        """Serve them by a gateway that serves, while in the block."""
        async with AsyncExitStack() as stack:
            services = await self._services(stack)
            meter = self._meter(stack)
            for agent_id, directory in self.directories.items():
                await stack.enter_async_context(
                    gateway.agent_socket(agent_id, directory, self.owner_uid, services=services)
                )
                if meter and self.reach.agents[agent_id].rules.rules:
                    await self._serve_proxy(stack, agent_id, meter)
            yield

    async def _services(self, stack: AsyncExitStack) -> "AnswerService | None":
        """Return what answers for the services; all agents of a run have the same ones."""
        if not any(agent.services for agent in self.reach.agents.values()):
            return None
        if self.reach.services is None:
            return _answer_in_replay
        from runner.gateway.services import Services

        served = await stack.enter_async_context(
            Services(self.reach.services, redact=self.redactor)
        )
        return served.answer

    def _meter(self, stack: AsyncExitStack) -> "EgressMeter | None":
        """Return the meter that all proxies share, None where no agent has a proxy."""
        if not any(agent.rules.rules for agent in self.reach.agents.values()):
            return None
        from runner.gateway.egress import egress_limits
        from runner.gateway.egress_meter import EgressMeter

        return stack.enter_context(EgressMeter(egress_limits(self.network), self.egress_log))

    async def _serve_proxy(
        self, stack: AsyncExitStack, agent_id: str, meter: "EgressMeter"
    ) -> None:
        from runner.gateway.egress import EgressProxy

        proxy = EgressProxy(
            agent_id,
            self.reach.agents[agent_id].rules,
            socket_dir=self.directories[agent_id],
            socket_owner=self.owner_uid,
            meter=meter,
        )
        await stack.enter_async_context(proxy)


def agent_sockets(current: CurrentRun, owner_uid: int) -> AgentSockets:
    """Return the sockets of a run's agents; `owner_uid` is whom the containers run as."""
    return AgentSockets(
        {name: agent.socket_dir for name, agent in current.acting.items()},
        current.reach,
        current.request.config.config.runner.network,
        current.new.directory.egress_log,
        owner_uid,
        current.redact,
    )


async def _answer_in_replay(_: "web.Request", name: str, __: str) -> NoReturn:
    from runner.contract.text import one_line
    from runner.gateway.refusal import Refusal

    what = f"this is a replay, which has no credentials: the service {one_line(name, 40)!r}"
    raise Refusal(503, f"{what} is not asked")
