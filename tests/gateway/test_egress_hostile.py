"""The egress proxy against a container that means harm: floods, half-open ends, hidden requests."""

import asyncio
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from runner.gateway.egress_meter import MAX_WAITING, EgressMeter
from tests.gateway.egress_serving import LIMITS, echo_server, proxied, web_server
from tests.gateway.serving import run
from tests.gateway.test_egress import connect_head, tunnel_to


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Let this process be a thousand clients and a proxy at once."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_thousand_silent_connections_keep_nobody_out(tmp_path: Path) -> None:
    """One agent's silent connections make room, and take neither tunnels nor the other agent's."""

    async def scenario() -> None:
        with EgressMeter(LIMITS, tmp_path / "egress.jsonl") as meter:
            async with echo_server() as port:
                place = f"127.0.0.1:{port}"
                async with (
                    proxied(tmp_path, place, meter=meter) as one,
                    proxied(tmp_path, place, meter=meter, agent_id="agent_b") as two,
                ):
                    reader, writer = await tunnel_to(one, place)
                    waiting_reader, waiting = await two.connect()
                    waiting.write(connect_head(place)[:9])
                    silent = [await one.connect() for _ in range(1000)]
                    closed = [asyncio.create_task(each.read()) for each, _ in silent]
                    while sum(task.done() for task in closed) < 1000 - MAX_WAITING:
                        await asyncio.sleep(0.01)
                    writer.write(b"still here")
                    assert await reader.readexactly(10) == b"still here"
                    waiting.write(connect_head(place)[9:])
                    assert b"200" in await waiting_reader.readline()
                    for each in (writer, waiting, *(w for _, w in silent)):
                        each.close()
                    await asyncio.gather(*closed)

    run(scenario())


def test_a_second_request_is_not_carried_out(tmp_path: Path) -> None:
    """What follows the one request of a connection goes nowhere, however it is framed."""

    async def scenario() -> None:
        async with web_server() as site, proxied(tmp_path, site.place) as it:
            head = f"POST http://{site.place}/one HTTP/1.1\r\nHost: {site.place}\r\n"
            hidden = f"GET http://{site.place}/two HTTP/1.1\r\nHost: {site.place}\r\n\r\n"
            for framing in (
                "Content-Length: 0\r\n\r\n",
                "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ):
                await it.say((head + framing + hidden).encode())
            assert [path for _, path, _, _ in site.seen] == ["/one", "/one"]

    run(scenario())


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 3\r\nContent-Length: 5",
        b"Content-Length: +3",
        b"Content-Length: 0x3",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: xchunked",
        b"Content-Length : 3",
        b"X\x00: 3",
        b"Host: other.example",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_none(tmp_path: Path, framing: bytes) -> None:
    """Ambiguous framing and a second Host reach no server."""

    async def scenario() -> None:
        async with web_server() as site, proxied(tmp_path, site.place) as it:
            head = f"POST http://{site.place}/ HTTP/1.1\r\nHost: {site.place}\r\n".encode()
            said = await it.say(head + framing + b"\r\n\r\nabcGET / HTTP/1.1\r\n\r\n")
            assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
            assert site.seen == []

    run(scenario())


def test_a_client_that_hangs_up_ends_what_it_asked_for(tmp_path: Path) -> None:
    """A body that stops half-way, and a client that goes away, end the connection to the server."""

    async def scenario() -> None:
        async with web_server() as site, proxied(tmp_path, site.place) as it:
            head = f"POST http://{site.place}/ HTTP/1.1\r\nHost: {site.place}\r\n"
            _, writer = await it.connect()
            writer.write(f"{head}Content-Length: 100\r\n\r\nabc".encode())
            await writer.drain()
            writer.close()
            [line] = await it.logged()
            assert line["outcome"] == "broken"
            assert site.seen == []

    run(scenario())


def test_a_server_that_sends_without_end_is_held_back(tmp_path: Path) -> None:
    """A client that reads nothing makes the proxy read no more either, and is given up in time."""
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536
        except OSError:
            writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(pour, "127.0.0.1", 0) as server:
            place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            limits = LIMITS._replace(idle_seconds=0.5)
            async with proxied(tmp_path, place, limits=limits) as it:
                reader, writer = await it.connect()
                writer.write(connect_head(place))
                await reader.readline()
                cast("asyncio.ReadTransport", writer.transport).pause_reading()
                [line] = await it.logged()
                assert line["outcome"] == "idle"
                assert line["bytes_down"] < 8_000_000
                writer.transport.abort()

    run(scenario())
    assert sent > 0


def test_a_refused_upload_still_reads_why(tmp_path: Path) -> None:
    """A client that goes on sending a large body gets the refusal whole."""

    async def scenario() -> None:
        async with proxied(tmp_path, "example.org:80") as it:
            body = b"x" * 500_000
            head = b"POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 500000"
            said = await it.say(head + b"\r\n\r\n" + body, end=True)
            assert said.startswith(b"HTTP/1.1 403 a.example:80 is not in runner.network.allow")
            assert said.endswith(b"allowed: example.org:80\n")

    run(scenario())
