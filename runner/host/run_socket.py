"""Serve a run's socket: the gateway, imported while the container boots. Runs on: host."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runner.config.models import RunnerConfig
from runner.contract.usage import RunUsage
from runner.gateway.budget import Limits
from runner.host.agent_containers import AgentContainers
from runner.host.agent_sockets import AgentSockets
from runner.host.money import Money
from runner.host.pacing import Pacing
from runner.host.run_spec import AgentRoute
from runner.host.run_store import NewRun
from runner.host.tape import Tape

if TYPE_CHECKING:
    from runner.gateway.server import Gateway


class RunSocket:
    """The run socket of one run; its usage stays readable after it is closed."""

    def __init__(
        self,
        new: NewRun,
        settings: RunnerConfig,
        routes: Sequence[AgentRoute],
        *,
        owner_uid: int,
        money: Money,
        limits: Limits,
        pacing: Pacing,
        notify: Callable[[str], None],
        tape: Tape,
        containers: AgentContainers,
        agents: AgentSockets,
    ) -> None:
        self._new = new
        self._settings = settings
        self._routes = routes
        self._owner_uid = owner_uid
        self._money = money
        self._limits = limits
        self._pacing = pacing
        self._notify = notify
        self._tape = tape
        self._containers = containers
        self._agents = agents
        self._gateway: Gateway | None = None

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Answer the run's model calls for as long as the block lasts."""
        from runner.gateway.books import Budget
        from runner.gateway.server import Gateway
        from runner.gateway.upstream import RetryPolicy

        retry = RetryPolicy(self._settings.retry.attempts, self._settings.retry.max_wait_seconds)
        limiter = self._pacing.limiter()
        routes = [route.route() for route in self._routes]
        self._gateway = Gateway(
            {route.agent_id: route for route in routes},
            socket_dir=self._new.directory.socket_dir,
            ledger=self._new.directory.ledger,
            run_id=self._new.run_id,
            retry=retry,
            stall_timeout_seconds=self._settings.stall_timeout_seconds,
            socket_owner=self._owner_uid,
            prices=self._money.prices(),
            budget=Budget(self._limits, self._money.per_agent),
            notify=self._notify,
            upstream=self._tape.upstream(
                routes, retry, self._settings.stall_timeout_seconds, limiter
            ),
            limiter=limiter,
            containers=self._containers.answer,
        )
        async with self._containers, self._gateway, self._agents.serve(self._gateway):
            yield

    def usage(self) -> RunUsage | None:
        """Return what the run has used so far, None before the socket was opened."""
        return self._gateway.usage() if self._gateway else None
