"""The egress proxy: how an agent's container reaches the hosts that it may. Runs on: host.

An HTTP proxy (CONNECT, and plain http://) on a socket of one agent; having it mounted is the
identity. A name is looked up once, here; every address that it has must be permitted, and the
connection is made to an address that was looked at, so that no second answer can lead elsewhere.

One meter is made for a run, and one proxy for each of its agents that may act:

    limits = egress_limits(config.runner.network)
    with EgressMeter(limits, log=run_directory / "egress.jsonl") as meter:
        async with EgressProxy(
            agent_id, egress_rules(config, agent),      # runner.config.network_checks
            socket_dir=directory, socket_owner=uid, meter=meter,
        ):
            ...                                         # `directory/egress.sock` is served
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

import h11

from runner.config.egress_rules import EgressRules, IPAddress, Target
from runner.config.network import NetworkConfig
from runner.contract.agent_socket import EGRESS_SOCKET_NAME
from runner.gateway.addresses import is_own_address
from runner.gateway.egress_connect import Connector
from runner.gateway.egress_meter import EgressLimits, EgressMeter, Outcome, Passage
from runner.gateway.egress_passage import (
    CHUNK_BYTES,
    Move,
    Peer,
    UsedUpError,
    deny,
    exchange,
    read_request,
    tunnel,
)
from runner.gateway.egress_request import Ask, DeniedError, check_allowed, read_ask
from runner.gateway.lookups import Lookups, Resolve
from runner.gateway.unix_socket import bound

logger = logging.getLogger(__name__)

_BACKLOG = 4096
_ACCEPTED_AT_ONCE = 32
_TURNS_OF_ACCEPTING = 4
"""Of the event loop, until a connection that it has accepted is one of the proxy's own."""


def egress_limits(network: NetworkConfig) -> EgressLimits:
    """Return the limits that a configuration sets."""
    return EgressLimits(network.max_connections, network.max_megabytes * 1_000_000)


class EgressProxy:
    """Serve an agent's `egress.sock` while in `async with`.

    `socket_dir` exists, is the host's own, and may be longer than a socket's address can be;
    `socket_owner` is the uid that the container runs with, where it is not the caller's. `meter`
    is entered, and outlives the proxy.
    """

    def __init__(
        self,
        agent_id: str,
        rules: EgressRules,
        *,
        socket_dir: Path,
        meter: EgressMeter,
        socket_owner: int | None = None,
        resolve: Resolve | None = None,
        is_own: Callable[[IPAddress], bool] = is_own_address,
    ) -> None:
        self._agent_id = agent_id
        self._rules = rules
        self._socket_dir = socket_dir
        self._socket_owner = socket_owner
        self._meter = meter
        seconds = meter.limits.connect_seconds
        self._connector = Connector(rules, resolve or Lookups(), is_own, seconds)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._serving())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        def protocol() -> asyncio.Protocol:
            reader = asyncio.StreamReader(limit=CHUNK_BYTES)
            return asyncio.StreamReaderProtocol(reader, self._begin)

        with bound(self._socket_dir, EGRESS_SOCKET_NAME, self._socket_owner) as listener:
            # No cleaning up by asyncio: it would unlink by a path that holds a descriptor's number.
            server = await asyncio.get_running_loop().create_server(
                protocol, sock=listener, backlog=_ACCEPTED_AT_ONCE
            )
            listener.listen(_BACKLOG)
            try:
                yield
            finally:
                # asyncio drops, open, what it has accepted when its server is closed just then.
                asyncio.get_running_loop().remove_reader(listener.fileno())
                for _ in range(_TURNS_OF_ACCEPTING):
                    await asyncio.sleep(0)
                server.close()
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Peer(reader, writer, h11.SERVER)
        task = asyncio.get_running_loop().create_task(self._serve(client))
        self._tasks.add(task)

        def ended(_: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            client.abort()  # here, since a task that is cancelled at once never begins

        task.add_done_callback(ended)

    async def _serve(self, client: Peer) -> None:
        trip = _Trip(self._agent_id)
        try:
            ask = await self._asked(client, trip)
            if ask is not None:
                with self._meter.connection() as has_room:
                    self._check_room(has_room=has_room)
                    trip.outcome = await self._carried_out(client, ask, trip)
        except DeniedError as error:
            trip.outcome, trip.reason = error.outcome, str(error)
            await self._deny(client, error)
        except Exception as error:  # the edge: one connection must not end the run
            trip.outcome, trip.reason = "failed", type(error).__name__
            logger.error("the egress proxy failed: %s", type(error).__name__)  # noqa: TRY400
        finally:
            if trip.target is not None or trip.reason is not None:
                self._meter.note(trip.passage())

    async def _asked(self, client: Peer, trip: "_Trip") -> Ask | None:
        """Return what a client may have; None where it hung up, or said nothing for too long."""
        with self._meter.waiting(client.writer.transport, self._agent_id):
            try:
                async with asyncio.timeout(self._meter.limits.head_seconds):
                    request = await read_request(client)
            except OSError:  # TimeoutError is one
                return None
            if request is None:
                return None
            ask = read_ask(request)
            trip.target = ask.target
            check_allowed(ask.target, self._rules)
            return ask

    async def _deny(self, client: Peer, error: DeniedError) -> None:
        with self._meter.waiting(client.writer.transport, self._agent_id):
            await deny(client, error)
            await client.close()

    def _check_room(self, *, has_room: bool) -> None:
        limits = self._meter.limits
        if not has_room:
            what = f"this run has {limits.max_connections} connections open, which is all that"
            remedy = "runner.network.max_connections allows: close one"
            raise DeniedError(503, f"{what} {remedy}", "limit")
        if self._meter.is_used_up:
            what = f"this run has sent and received {limits.max_bytes // 1_000_000} MB"
            remedy = "which is all that runner.network.max_megabytes allows"
            raise DeniedError(403, f"{what}, {remedy}", "limit")

    async def _carried_out(self, client: Peer, ask: Ask, trip: "_Trip") -> Outcome:
        reached = await self._connector.connect(ask.target)
        trip.address = reached.address
        server = Peer(reached.reader, reached.writer, h11.CLIENT)
        try:
            outcome = await self._passed(client, server, ask, trip)
            if outcome == "complete":
                await asyncio.gather(client.close(), server.close())
        finally:
            server.abort()
        if (
            outcome in {"broken", "idle"}
            and ask.onward
            and client.http.our_state is h11.SEND_RESPONSE
        ):
            raise DeniedError(502, f"{ask.target} gave no proper answer", outcome)
        return outcome

    async def _passed(self, client: Peer, server: Peer, ask: Ask, trip: "_Trip") -> Outcome:
        outcome: Outcome = "complete"
        try:
            async with asyncio.timeout(self._meter.limits.idle_seconds) as deadline:
                up, down = self._counts(trip, deadline)
                try:
                    if ask.onward is None:
                        await tunnel(client, server, up, down)
                    else:
                        await exchange(client, server, ask.onward, up, down)
                except* UsedUpError:
                    outcome = "limit"
                except* (OSError, h11.ProtocolError):
                    outcome = "broken"
        except TimeoutError:
            outcome = "idle"
        return outcome

    def _counts(self, trip: "_Trip", deadline: asyncio.Timeout) -> tuple[Move, Move]:
        loop = asyncio.get_running_loop()

        def take(count: int) -> None:
            if not self._meter.take(count):
                raise UsedUpError
            if not deadline.expired():
                deadline.reschedule(loop.time() + self._meter.limits.idle_seconds)

        def up(count: int) -> None:
            take(count)
            trip.bytes_up += count

        def down(count: int) -> None:
            take(count)
            trip.bytes_down += count

        return up, down


class _Trip:
    """What is known so far of one connection."""

    def __init__(self, agent_id: str) -> None:
        self._agent_id = agent_id
        self._time = time.time()
        self._began = time.monotonic()
        self.target: Target | None = None
        self.address: IPAddress | None = None
        self.bytes_up = 0
        self.bytes_down = 0
        self.outcome: Outcome = "cancelled"
        self.reason: str | None = None

    def passage(self) -> Passage:
        """Return the connection's line."""
        return Passage(
            time=self._time,
            agent_id=self._agent_id,
            host=self.target.host if self.target else "",
            port=self.target.port if self.target else 0,
            address=str(self.address) if self.address else None,
            outcome=self.outcome,
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            seconds=time.monotonic() - self._began,
            reason=self.reason[:500] if self.reason else None,
        )
