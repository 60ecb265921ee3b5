"""What goes through the forwarder: bytes, as they come, to their end."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from runner.contract.agent_socket import Forward
from runner.tools.forwarder import MAX_CONNECTIONS, forwarding
from tests.gateway.serving import run

Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serve(path: Path, served: Served) -> AsyncIterator[str]:
    """Serve on a socket in the directory `path`, and see every connection to its end."""
    tasks: set[asyncio.Task[None]] = set()

    async def whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await served(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(whole(reader, writer)))

    name = str(path / "s")
    async with await asyncio.start_unix_server(connected, name):
        yield name
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def forward_to(path: Path, served: Served) -> AsyncIterator[int]:
    """Serve on a socket in the directory `path`, and yield the port that leads there."""
    async with serve(path, served) as name, forwarding([Forward(0, name)]) as [port]:
        yield port


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, and end when it ends."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def test_bytes_arrive_before_the_connection_ends(short_path: Path) -> None:
    """What one side has written is with the other before more is written: nothing is held back."""

    async def scenario() -> None:
        async with forward_to(short_path, echo) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for number in range(100):
                writer.write(b"%03d" % number)
                assert await reader.readexactly(3) == b"%03d" % number
            writer.close()

    run(scenario())


def test_an_end_is_passed_on_and_the_other_direction_goes_on(short_path: Path) -> None:
    """A program that has said all it has to say still gets its answer, whole."""

    async def after_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read(-1)
        writer.write(asked * 100_000)

    async def scenario() -> None:
        async with forward_to(short_path, after_the_end) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"question")
            writer.write_eof()
            assert await reader.read(-1) == b"question" * 100_000
            writer.close()

    run(scenario())


def test_a_slow_reader_slows_the_other_side_down(short_path: Path) -> None:
    """What nobody reads is not kept by the forwarder: the side that writes has to wait."""
    total = 16 * 2**20  # far more than the sockets on the way hold
    has_written = asyncio.Event()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == b".":
            writer.write(b".")
            await echo(reader, writer)
            return
        for _ in range(total // 2**16):
            writer.write(b"x" * 2**16)
            await writer.drain()
        has_written.set()

    async def scenario() -> int:
        async with forward_to(short_path, served) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
            writer.write(b"!")
            beside, say = await _greeted(port)
            for _ in range(1000):  # in as many turns all could have been written
                say.write(b"-")
                assert await beside.readexactly(1) == b"-"
            assert not has_written.is_set()
            size = 0
            while data := await reader.read(2**20):
                size += len(data)
            writer.close()
            say.close()
            return size

    assert run(scenario()) == total


def test_a_program_that_hangs_up_is_heard_of_behind_the_socket(short_path: Path) -> None:
    """When a program goes, the host's side of its connection ends with it."""

    async def scenario() -> None:
        gone = asyncio.Event()

        async def until_gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"go on")
            await reader.read(-1)
            gone.set()

        async with forward_to(short_path, until_gone) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await reader.readexactly(5)
            writer.close()
            await gone.wait()

    run(scenario())


def test_an_end_behind_the_socket_is_heard_of_by_the_program(short_path: Path) -> None:
    """A host that closes a connection closes the program's."""

    async def at_once(*_: object) -> None:
        pass

    async def scenario() -> None:
        async with forward_to(short_path, at_once) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read(-1) == b""
            writer.close()

    run(scenario())


def test_a_socket_that_is_not_there_ends_connections_and_not_the_forwarder(
    short_path: Path,
) -> None:
    """A connection to a port without a socket behind it is closed; it works once there is one."""

    async def scenario() -> None:
        name = str(short_path / "s")
        async with forwarding([Forward(0, name)]) as [port]:
            assert await _echoed(port) == b""
            async with serve(short_path, echo):
                assert await _echoed(port) == b"hello"

    run(scenario())


def test_connections_are_limited_and_free_places_are_given_again(short_path: Path) -> None:
    """One connection too many is closed as it comes; when another has ended there is room."""

    async def scenario() -> None:
        async with forward_to(short_path, echo) as port:
            there = [await _greeted(port) for _ in range(MAX_CONNECTIONS)]
            assert await _echoed(port) == b""
            for _, writer in there:
                writer.write_eof()
            for reader, writer in there:
                assert await reader.read(-1) == b""
                writer.close()
                await writer.wait_closed()
            while await _echoed(port) != b"hello":  # the limit is run()'s
                await asyncio.sleep(0.01)

    run(scenario())


def test_leaving_ends_every_connection(short_path: Path) -> None:
    """A forwarder that ends leaves no connection open and its port free."""

    async def scenario() -> None:
        async with forward_to(short_path, echo) as port:
            reader, writer = await _greeted(port)
        with suppress(ConnectionError):
            assert await reader.read(-1) == b""
        writer.close()
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))

    run(scenario())


async def _greeted(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection through which a byte has come and gone."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b".")
    await reader.readexactly(1)
    return reader, writer


async def _echoed(port: int) -> bytes:
    """Return what comes back; nothing where the connection is closed or refused a byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"hello")
        writer.write_eof()
        return await reader.read(-1)
    except OSError:  # a connection error, or that there is none any more
        return b""
    finally:
        writer.close()
