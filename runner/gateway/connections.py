"""Who may stay connected to a socket when more come than there is room for. Runs on: host.

A container can open connections without end, and say nothing on them. The limit leaves the host
its file descriptors; when it is reached, the oldest connection without a call under way makes
room, so that silent ones never keep a call out.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

MAX_CONNECTIONS = 256
"""A container needs one for each agent. With as many to the providers, that is half of the 1,024
descriptors that a process usually has."""
_BACKLOG = 4096
_ACCEPTED_AT_ONCE = 32
"""By one turn of the event loop, before the limit is looked at again."""


class Connections:
    """The connections of one socket, at most `limit`."""

    def __init__(self, limit: int = MAX_CONNECTIONS) -> None:
        self._limit = limit
        self._with_calls: set[asyncio.Protocol] = set()

    @contextmanager
    def kept(self, request: web.Request) -> Iterator[None]:
        """Keep the connection of a request open while in the block, whoever else comes."""
        protocol = request.protocol
        self._with_calls.add(protocol)
        try:
            yield
        finally:
            self._with_calls.discard(protocol)

    async def accept(self, listener: socket.socket, runner: web.AppRunner) -> asyncio.Server:
        """Serve those who connect to `listener`, from now until the server is closed."""
        http = runner.server
        assert http is not None, "the runner is set up"  # noqa: S101  # for the type checker

        def protocol() -> asyncio.Protocol:
            return http() if self._has_room(http) else _ClosedAtOnce()

        # No cleaning up by asyncio: it would unlink by a path that holds a descriptor's number.
        server = await asyncio.get_running_loop().create_server(
            protocol, sock=listener, backlog=_ACCEPTED_AT_ONCE
        )
        listener.listen(_BACKLOG)  # how many the kernel lets wait; asyncio has one number for both
        return server

    def _has_room(self, http: web.Server) -> bool:
        """Return whether one more may come, after having made room for it if need be."""
        if len(http.connections) < self._limit:
            return True
        there = [each for each in http.connections if each.connected]
        if len(there) < self._limit:
            return True
        oldest = next((each for each in there if each not in self._with_calls), None)
        if oldest is None:
            return False
        oldest.force_close()
        return True


class _ClosedAtOnce(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
