"""The gateway under load that is meant to break it: floods, half requests, slow ends, smuggling."""

import asyncio
import json
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from runner.contract.run_socket import MAX_REQUEST_BYTES, model_path
from runner.gateway.connections import MAX_CONNECTIONS
from tests.gateway.serving import Served, container_at, request_body, route_to, run, served
from tests.support.provider import Hold, Provider, Rule, Script, Text

PATH = model_path("agent_a", "chat").encode()
BODY = request_body()
LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
HIDDEN = b"POST %s HTTP/1.1\r\nHost: gateway\r\n%s\r\n\r\n%s" % (PATH, LENGTH, BODY)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Let this process be a thousand clients, a gateway and a provider at once."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def head(*headers: bytes) -> bytes:
    """Return the head of a model request."""
    return b"\r\n".join((b"POST " + PATH + b" HTTP/1.1", b"Host: gateway", *headers)) + b"\r\n\r\n"


async def say(path: Path, data: bytes) -> bytes:
    """Send bytes, say that no more will come, and return all that comes back."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(data)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


def connect(path: Path, data: bytes = b"") -> socket.socket:
    """Return a connection on which `data` was said, made without waiting for the gateway."""
    with ExitStack() as unless_connected:
        made = unless_connected.enter_context(socket.socket(socket.AF_UNIX))
        made.connect(str(path))
        made.sendall(data)
        unless_connected.pop_all()
        return made


def is_closed(connection: socket.socket) -> bool:
    """Return whether the gateway has closed a connection on which it never said anything."""
    try:
        return connection.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@asynccontextmanager
async def gateway_for(directory: Path, provider: Provider) -> AsyncIterator[Served]:
    async with served(directory, route_to(provider.url)) as it:
        yield it


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(head(LENGTH, LENGTH.replace(b":", b" :")) + BODY, id="space before a colon"),
        pytest.param(head(b"Content-Length: 0", LENGTH) + HIDDEN, id="two lengths"),
        pytest.param(head(LENGTH + b", 0") + HIDDEN, id="a list of lengths"),
        pytest.param(head(b"Content-Length: +%d" % len(BODY)) + BODY, id="a signed length"),
        pytest.param(head(b"Content-Length: 0x10") + BODY, id="a length in hexadecimal"),
        pytest.param(head(b"Content-Length: 1_0") + BODY, id="a length with an underscore"),
        pytest.param(head(b"Content-Length:\r\n %d" % len(BODY)) + BODY, id="a folded length"),
        pytest.param(head(b"X: a\r\n b", LENGTH) + BODY, id="a folded header"),
        pytest.param(head(b"X: a\r\n\tb", LENGTH) + BODY, id="a header folded by a tab"),
        pytest.param(
            head(LENGTH, b"Transfer-Encoding: chunked") + CHUNKED + HIDDEN, id="length and chunks"
        ),
        pytest.param(
            head(b"Transfer-Encoding: chunked", b"Content-Length: 4") + CHUNKED + HIDDEN,
            id="chunks and a length",
        ),
        pytest.param(
            head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + CHUNKED,
            id="two encodings",
        ),
        pytest.param(head(b"Transfer-Encoding: \x0bchunked") + CHUNKED, id="a control character"),
        pytest.param(head(b"Transfer-Encoding : chunked") + CHUNKED, id="an encoding with a space"),
        pytest.param(head(b"Transfer\x00-Encoding: chunked") + CHUNKED, id="a NUL in a name"),
        pytest.param(
            head(b"Transfer-Encoding: chunked") + CHUNKED.replace(b"\r\n", b"\n"), id="bare LF"
        ),
        pytest.param(
            head(b"Transfer-Encoding: chunked") + b"-1\r\n" + CHUNKED, id="a negative chunk"
        ),
        pytest.param(
            head(b"Transfer-Encoding: chunked") + b"0x5\r\n" + CHUNKED, id="a chunk with a prefix"
        ),
        pytest.param(
            head(b"Transfer-Encoding: chunked") + b"1" * 20 + b"\r\n" + CHUNKED, id="a huge chunk"
        ),
        pytest.param(
            head(b"Transfer-Encoding: chunked") + b"1;" + b"x" * 100_000 + b"\r\n",
            id="a chunk extension without an end",
        ),
        pytest.param(head(*(b"X-%d: %s" % (i, b"y" * 8000) for i in range(5000))), id="40 MB"),
        pytest.param(head(*(b"A:" for _ in range(100_000))), id="100,000 headers"),
        pytest.param(
            head(b"Transfer-Encoding: chunked")
            + CHUNKED.removesuffix(b"\r\n")
            + b"A: b\r\n" * 100_000,
            id="100,000 trailers",
        ),
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_none(tmp_path: Path, data: bytes) -> None:
    """Ambiguous framing and floods of headers reach no model, and the socket goes on serving."""

    async def scenario(provider: Provider) -> bytes:
        async with gateway_for(tmp_path, provider) as it:
            said = b""
            with suppress(ConnectionError):  # closed before all of it was said
                said = await say(it.socket, data)
            assert not provider.requests
            assert (await it.container.ask()).status == 200
        return said

    with Provider() as provider:
        said = run(scenario(provider))
    assert b" 200 " not in said.partition(b"\r\n")[0]


def test_a_body_of_100_megabytes_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    """The length is enough for the refusal: not one byte of the body is waited for."""

    async def scenario(provider: Provider) -> bytes:
        async with gateway_for(tmp_path, provider) as it:
            reader, writer = await asyncio.open_unix_connection(str(it.socket))
            writer.write(head(b"Content-Length: %d" % 100_000_000))
            said = await reader.readline()
            writer.close()
            return said

    with Provider() as provider:
        assert run(scenario(provider)).startswith(b"HTTP/1.1 413 ")
        assert not provider.requests


def test_large_bodies_at_once_are_not_kept_in_memory(tmp_path: Path) -> None:
    """Twenty chunked bodies of 100 MB take no more memory together than all bodies may."""
    megabyte = b"%x\r\n%s\r\n" % (2**20, b" " * 2**20)

    async def send(path: Path) -> None:
        _, writer = await asyncio.open_unix_connection(str(path))
        try:
            writer.write(head(b"Transfer-Encoding: chunked"))
            for _ in range(100):
                writer.write(megabyte)
                await writer.drain()
        except ConnectionError:
            pass  # refused and closed
        finally:
            writer.close()

    async def scenario(provider: Provider) -> None:
        async with gateway_for(tmp_path, provider) as it:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await asyncio.gather(*(send(it.socket) for _ in range(20)))
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown * 1024 < 16 * MAX_REQUEST_BYTES
            assert (await it.container.ask()).status == 200
            assert len(provider.requests) == 1

    with Provider() as provider:
        run(scenario(provider))


@pytest.mark.parametrize(
    "half",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /agents/agent_a/v1", id="half a line"),
        pytest.param(head(LENGTH)[:-2] + b"X: ", id="half a head"),
        pytest.param(head(LENGTH) + BODY[:-1], id="all but a byte"),
        pytest.param(head(b"Transfer-Encoding: chunked") + b"5\r\n{", id="half a chunk"),
    ],
)
def test_a_thousand_half_requests_keep_no_call_out(
    tmp_path: Path, half: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """A client that opens 1,000 connections and leaves them open does not shut out others."""

    async def scenario(provider: Provider) -> None:
        async with gateway_for(tmp_path, provider) as it:
            with ExitStack() as stack:
                opened = [stack.enter_context(connect(it.socket, half)) for _ in range(1000)]
                for _ in range(20):
                    async with container_at(it.socket) as other:
                        assert (await other.ask()).status == 200
                closed = sum(map(is_closed, opened))
                assert len(opened) - closed <= MAX_CONNECTIONS + 100
                assert is_closed(opened[0])
            assert len(provider.requests) == 20

    with Provider() as provider:
        run(scenario(provider))
    assert capfd.readouterr() == ("", "")


def test_a_flood_of_connections_ends_no_call_under_way(tmp_path: Path) -> None:
    """Who waits for a model keeps the connection, however many newcomers there are."""

    async def scenario(provider: Provider) -> None:
        async with gateway_for(tmp_path, provider) as it:
            asking = [asyncio.create_task(it.container.ask()) for _ in range(10)]
            await asyncio.to_thread(provider.log.wait_for_requests, 10)
            with ExitStack() as stack:
                for _ in range(1000):
                    stack.enter_context(connect(it.socket))
                messages = [{"role": "user", "content": "small"}]
                async with container_at(it.socket) as other:
                    assert (await other.ask(messages=messages)).status == 200
                provider.release("all")
                answers = await asyncio.gather(*asking)
            assert {(200, False)} == {(a.status, a.broken) for a in answers}
            assert it.gateway.usage().calls == 11

    script = Script((Rule((Text("little"),), contains="small"), Rule((Hold("all", Text("a")),))))
    with Provider(script) as provider:
        run(scenario(provider))


def test_connections_are_closed_where_all_have_calls(tmp_path: Path) -> None:
    """The host's file descriptors are not used up by calls either; later ones come through."""

    async def scenario(provider: Provider) -> None:
        async with gateway_for(tmp_path, provider) as it:
            asking = [asyncio.create_task(it.container.ask()) for _ in range(MAX_CONNECTIONS)]
            await asyncio.to_thread(provider.log.wait_for_requests, MAX_CONNECTIONS)
            async with container_at(it.socket) as other:
                with pytest.raises(aiohttp.ClientConnectionError):
                    await other.ask()
                provider.release("all")
                answers = await asyncio.gather(*asking)
                assert {200} == {answer.status for answer in answers}
                assert (await other.ask()).status == 200

    with Provider(Script.always(Hold("all", Text("a")))) as provider:
        run(scenario(provider))


def test_a_slow_provider_holds_up_no_other_agent(tmp_path: Path) -> None:
    """Fifty calls that wait for their provider leave the way of another agent free."""

    async def scenario(slow: Provider, quick: Provider) -> None:
        routes = (route_to(slow.url), route_to(quick.url, agent_id="agent_b"))
        async with served(tmp_path, *routes) as it:
            asking = [asyncio.create_task(it.container.ask()) for _ in range(50)]
            await asyncio.to_thread(slow.log.wait_for_requests, 50)
            for _ in range(20):
                assert (await it.container.ask("agent_b")).status == 200
            assert not any(task.done() for task in asking)
            slow.release("all")
            answers = await asyncio.gather(*asking)
            assert {200} == {answer.status for answer in answers}

    with Provider(Script.always(Hold("all", Text("a")))) as slow, Provider() as quick:
        run(scenario(slow, quick))


@contextmanager
def gateway_process(directory: Path, provider: Provider) -> Iterator["subprocess.Popen[bytes]"]:
    """Serve `directory`/run.sock from another process, with the descriptors that are usual."""
    directory.mkdir()
    command = [sys.executable, "-m", "bench.gateway.serve", str(directory), provider.url]
    with subprocess.Popen(command, cwd=ROOT) as process:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        try:
            yield process
        finally:
            process.terminate()


async def bound(path: Path, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a gateway process serves its socket."""
    while True:
        assert process.poll() is None
        with suppress(FileNotFoundError, ConnectionRefusedError):
            connect(path).close()
            return
        await asyncio.sleep(0.01)


def test_a_flood_of_calls_does_not_use_up_the_hosts_descriptors(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of 1,000 calls that wait for their model the host keeps some, quietly, and goes on."""
    body = request_body(model="gpt-4o-mini")
    call = head(b"Content-Length: %d" % len(body)) + body

    async def scenario(provider: Provider, process: "subprocess.Popen[bytes]") -> None:
        path = tmp_path / "flooded" / "run.sock"
        await bound(path, process)
        with ExitStack() as stack:
            for _ in range(1000):
                with suppress(ConnectionError):  # closed at once
                    stack.enter_context(connect(path, call))
            await asyncio.to_thread(provider.log.wait_for_requests, MAX_CONNECTIONS)
        provider.release("all")
        async with container_at(path) as other:
            while True:  # until the gateway has seen that the thousand are gone
                with suppress(aiohttp.ClientConnectionError):
                    assert (await other.ask(model="gpt-4o-mini")).status == 200
                    break

    with (
        Provider(Script.always(Hold("all", Text("a")))) as provider,
        gateway_process(tmp_path / "flooded", provider) as process,
    ):
        run(scenario(provider, process))
    assert capfd.readouterr() == ("", "")


def test_a_flood_on_one_run_leaves_another_alone(tmp_path: Path) -> None:
    """While one run's socket is flooded without a pause, another run's calls complete."""
    path = tmp_path / "flooded" / "run.sock"

    async def flood(over: asyncio.Event) -> int:
        said = 0
        while not over.is_set():
            try:
                await say(path, head(LENGTH) + b"{}" + BODY[2:])
            except ConnectionError:
                continue
            said += 1
        return said

    async def scenario(provider: Provider, process: "subprocess.Popen[bytes]") -> None:
        await bound(path, process)
        async with gateway_for(tmp_path, provider) as it:
            over = asyncio.Event()
            flooding = [asyncio.create_task(flood(over)) for _ in range(32)]
            for _ in range(20):
                assert (await it.container.ask()).status == 200
            over.set()
            assert sum(await asyncio.gather(*flooding)) > 0
            assert it.gateway.usage().calls == 20
        records = [json.loads(line) for line in it.ledger.read_text().splitlines()]
        assert {record["agent_id"] for record in records} == {"agent_a"}

    with Provider() as provider, gateway_process(path.parent, provider) as process:
        run(scenario(provider, process))
