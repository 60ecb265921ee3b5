"""Make an agent's sockets reachable as ports of the loopback. Runs on: the agent container.

    python -m runner.tools.forwarder

Programs and SDKs can be told an address, not a mounted socket. Bytes go through as they come, in
both directions, and no faster than the other side takes them; nothing is read or changed.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

from runner.contract.agent_socket import FORWARDS, LOOPBACK, Forward

_PIECE_BYTES = 64 * 1024
MAX_CONNECTIONS = 128
"""To one port at once; more are closed as they come."""


@asynccontextmanager
async def forwarding(forwards: Sequence[Forward] = FORWARDS) -> AsyncIterator[tuple[int, ...]]:
    """Forward while in the block; yield the ports, which were chosen where they were given as 0.

    A socket that is not there is no error: connections to its port are closed at once. Raises
    OSError where a port is taken.
    """
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        ports = []
        for forward in forwards:
            pipes = _Pipes(forward.socket)
            server = await loop.create_server(pipes.protocol, LOOPBACK, forward.port)
            stack.callback(pipes.cut)
            stack.callback(server.close)
            ports.append(server.sockets[0].getsockname()[1])
        yield tuple(ports)


class _Pipes:
    """The connections to one port."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.buffer = memoryview(bytearray(_PIECE_BYTES))
        self._open: set[_Near] = set()

    def protocol(self) -> asyncio.BaseProtocol:
        return _Near(self)

    def add(self, near: "_Near") -> bool:
        """Take a connection in; False where there are too many."""
        if len(self._open) >= MAX_CONNECTIONS:
            return False
        self._open.add(near)
        return True

    def discard(self, near: "_Near") -> None:
        self._open.discard(near)

    def cut(self) -> None:
        """End all connections at once."""
        for near in tuple(self._open):
            near.cut()


class _Half(asyncio.BufferedProtocol):
    """One of the two connections that make a pipe; what comes in goes out by its peer.

    All take turns with one buffer: it is filled and emptied in one step of the event loop. A
    new one for each piece would cost more than all the rest.
    """

    def __init__(self, buffer: memoryview, peer: "_Half | None" = None) -> None:
        self._buffer = buffer
        self.peer = peer
        self.transport: asyncio.Transport | None = None
        self.has_ended = False
        """No more comes in."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.peer is not None:
            self.peer.peer = self

    def get_buffer(self, _: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        self._out.write(bytes(self._buffer[:size]))

    def eof_received(self) -> bool:
        """Pass on that no more comes; the other direction goes on."""
        self.has_ended = True
        return self._pass_on_end()

    def _pass_on_end(self) -> bool:
        self._out.write_eof()
        if self.peer and self.peer.has_ended:
            self._out.close()  # both: what is still to be written is, before
            self.close()
        return True

    def pause_writing(self) -> None:
        """Read no more from the peer while this side is slow to take it."""
        self._out.pause_reading()

    def resume_writing(self) -> None:
        self._out.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.peer is None:
            return
        if error is None:
            self.peer.close()
        else:
            self.peer.abort()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    @property
    def _in(self) -> asyncio.Transport:
        assert self.transport is not None  # noqa: S101  # for the type checker
        return self.transport

    @property
    def _out(self) -> asyncio.Transport:
        assert self.peer is not None  # noqa: S101  # for the type checker
        return self.peer._in


class _Near(_Half):
    """The connection of a program in the container; it makes its peer, the one to the socket.

    What comes before there is a peer waits. Reading could be paused from the start instead, but
    not in every Python 3.11.
    """

    def __init__(self, pipes: _Pipes) -> None:
        super().__init__(pipes.buffer)
        self._pipes = pipes
        self._early = b""
        self._joining: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._pipes.add(self):
            self._joining = asyncio.get_running_loop().create_task(self._join())
        else:
            self.abort()

    async def _join(self) -> None:
        far = _Half(self._buffer, self)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: far, self._pipes.socket)
        except OSError:
            self.abort()
            return
        if self._in.is_closing():
            far.abort()
            return
        self._out.write(self._early)
        self._early = b""
        if self.has_ended:
            self._pass_on_end()
        else:
            self._in.resume_reading()

    def buffer_updated(self, size: int) -> None:
        if self.peer is not None:
            super().buffer_updated(size)
            return
        self._early += bytes(self._buffer[:size])
        self._in.pause_reading()

    def eof_received(self) -> bool:
        self.has_ended = True
        return True if self.peer is None or self._early else self._pass_on_end()

    def connection_lost(self, error: Exception | None) -> None:
        self._pipes.discard(self)
        super().connection_lost(error)

    def cut(self) -> None:
        """End both connections at once."""
        if self._joining is not None:
            self._joining.cancel()
        self.abort()
        if self.peer is not None:
            self.peer.abort()


async def _main() -> None:
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with forwarding():
        await over.wait()


if __name__ == "__main__":
    asyncio.run(_main())
