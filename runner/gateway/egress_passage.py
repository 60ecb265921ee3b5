"""Pass bytes between a client and the server that it may reach. Runs on: host."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import h11

from runner.gateway.egress_request import DeniedError, end_to_end

CHUNK_BYTES = 64 * 1024
MAX_HEAD_BYTES = 16 * 1024
_LINGER_SECONDS = 5.0
_LINGER_BYTES = 1024 * 1024

Move = Callable[[int], None]
"""Counts bytes before they are passed on; raises UsedUpError where the run has none left."""


class UsedUpError(Exception):
    """The run has no bytes left."""


class Peer:
    """One side of a passage: its streams, and its HTTP while it speaks that."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        role: type[h11.CLIENT] | type[h11.SERVER],
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.http = h11.Connection(role, max_incomplete_event_size=MAX_HEAD_BYTES)

    async def receive(self) -> h11.Event:
        """Return what comes next. Raises h11.RemoteProtocolError, or OSError."""
        while True:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                self.http.receive_data(await self.reader.read(CHUNK_BYTES))
            elif isinstance(event, h11.Event):
                return event
            else:
                raise ConnectionResetError("nothing comes any more")

    async def send(self, event: h11.Event) -> None:
        """Send an event. Raises h11.LocalProtocolError, or OSError."""
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    async def close(self) -> None:
        """Close, once what was written has gone out; not for long where nobody takes it."""
        with suppress(OSError, TimeoutError):
            self.writer.close()
            async with asyncio.timeout(_LINGER_SECONDS):
                await self.writer.wait_closed()
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.writer.transport.abort()


async def read_request(client: Peer) -> h11.Request | None:
    """Return the request that a client begins with, None if it hangs up before.

    Raises DeniedError for what is none.
    """
    try:
        event = await client.receive()
        if not isinstance(event, h11.Request):
            return None
        if event.method == b"CONNECT":
            client.http.next_event()  # the end of a request that has no body
    except h11.RemoteProtocolError as error:
        raise DeniedError(error.error_status_hint, f"this is no HTTP request: {error}") from error
    return event


async def deny(client: Peer, error: DeniedError) -> None:
    """Answer with the sentence of an error, as far as the client takes it.

    It is in the status line too: of a refused CONNECT many clients show nothing else.
    """
    if client.http.our_state not in {h11.SEND_RESPONSE, h11.IDLE}:
        return
    body = f"{error}\n".encode("ascii", "replace")
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    reason = str(error).partition(";")[0].encode("ascii", "replace")[:200]
    with suppress(OSError, h11.LocalProtocolError):
        await client.send(
            h11.Response(
                status_code=error.status,
                headers=[*headers, ("Connection", "close")],
                reason=reason,
            )
        )
        await client.send(h11.Data(data=body))
        await client.send(h11.EndOfMessage())
        await _linger(client)


async def _linger(client: Peer) -> None:
    """Take what a client is still sending: closing at once would take the answer from it."""
    client.writer.write_eof()
    taken = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while taken < _LINGER_BYTES and (chunk := await client.reader.read(CHUNK_BYTES)):
                taken += len(chunk)


async def tunnel(client: Peer, server: Peer, up: Move, down: Move) -> None:
    """Tell the client that it is connected, and pass bytes both ways until both sides are done.

    Raises an ExceptionGroup of OSError and UsedUpError.
    """
    early, _ = client.http.trailing_data
    await client.send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
    if early:
        up(len(early))
        server.writer.write(early)
    async with asyncio.TaskGroup() as group:
        group.create_task(_pump(client.reader, server.writer, up))
        group.create_task(_pump(server.reader, client.writer, down))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, move: Move) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        move(len(chunk))
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


async def exchange(client: Peer, server: Peer, onward: h11.Request, up: Move, down: Move) -> None:
    """Send the request to the server, body and all, and its answer to the client.

    Both are taken apart and put together anew, so that neither side sees bytes that the other
    may read differently. Raises an ExceptionGroup of OSError, h11.ProtocolError and UsedUpError.
    """
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(_send_request(client, server, onward, up))
        await _send_answer(client, server, down)
        sending.cancel()


async def _send_request(client: Peer, server: Peer, onward: h11.Request, move: Move) -> None:
    if client.http.they_are_waiting_for_100_continue:
        await client.send(h11.InformationalResponse(status_code=100, headers=[]))
    with suppress(BrokenPipeError, ConnectionResetError):  # what it answers is still read
        await server.send(onward)
    while True:
        event = await client.receive()
        if isinstance(event, h11.Data):
            move(len(event.data))
            onward_event: h11.Event = h11.Data(data=bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            onward_event = h11.EndOfMessage()
        else:
            raise ConnectionResetError("the client hung up")
        with suppress(BrokenPipeError, ConnectionResetError):
            await server.send(onward_event)
        if isinstance(event, h11.EndOfMessage):
            return


async def _send_answer(client: Peer, server: Peer, move: Move) -> None:
    while True:
        event = await server.receive()
        if isinstance(event, h11.Response):
            headers = [*end_to_end(event.headers), (b"Connection", b"close")]
            answer = h11.Response(
                status_code=event.status_code, headers=headers, reason=event.reason
            )
            await client.send(answer)
        elif isinstance(event, h11.Data):
            move(len(event.data))
            await client.send(h11.Data(data=bytes(event.data)))
        elif isinstance(event, h11.EndOfMessage):
            await client.send(h11.EndOfMessage())
            return
        elif not isinstance(event, h11.InformationalResponse):
            raise ConnectionResetError("the server hung up")
