"""The egress proxy: what is passed on, what is refused, and what is written down."""

import asyncio
import urllib.request
from pathlib import Path

import pytest

from runner.config.network import NetworkConfig
from runner.gateway.egress import egress_limits
from runner.gateway.egress_meter import EgressLimits, EgressMeter
from tests.gateway.egress_serving import (
    LIMITS,
    Names,
    Proxied,
    echo_server,
    proxied,
    web_server,
)
from tests.gateway.serving import run

TWO_LENGTHS = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
INSIDE = """127.0.0.1 10.1.2.3 169.254.169.254 fd00:ec2::254 ::1 ::ffff:10.0.0.1 64:ff9b::7f00:1
    2002:7f00:1:: 100.64.0.1 224.0.0.1 0.0.0.0 fe80::1"""


def connect_head(place: str) -> bytes:
    return f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode()


async def tunnel_to(it: Proxied, place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a tunnel that the proxy has opened."""
    reader, writer = await it.connect()
    writer.write(connect_head(place))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return reader, writer


def test_plain_http_is_passed_on(tmp_path: Path) -> None:
    """A permitted address answers; the log has its name, address, bytes and end."""

    async def scenario() -> None:
        async with web_server() as site, proxied(tmp_path, site.place) as it:
            said = await it.get(f"http://{site.place}/a?b=c", "X-Mine: 1", "Proxy-Connection: x")
            assert said.startswith(b"HTTP/1.1 200 OK\r\n")
            assert said.endswith(b"hello from /a")
            assert b"connection: close" in said.lower()
            [(method, path, headers, _)] = site.seen
            assert (method, path) == ("GET", "/a?b=c")
            assert headers == {"Host": site.place, "x-mine": "1", "Connection": "close"}
            [line] = await it.logged()
            assert line["agent_id"] == "agent_a"
            assert (line["host"], line["port"]) == ("127.0.0.1", site.port)
            assert line["address"] == "127.0.0.1"
            assert line["outcome"] == "complete"
            assert line["bytes_down"] == len("hello from /a")
            assert 0 <= line["seconds"] < 60

    run(scenario())


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_are_passed_on(tmp_path: Path, *, chunked: bool) -> None:
    """A body arrives whole, with its length or in chunks, and counts."""
    body = b"y" * 300_000
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    sent = b"%x\r\n%s\r\n0\r\nA: trailer\r\n\r\n" % (len(body), body) if chunked else body

    async def scenario() -> None:
        async with web_server() as site, proxied(tmp_path, site.place) as it:
            head = f"POST http://{site.place}/p HTTP/1.1\r\nHost: {site.place}\r\n{framing}\r\n\r\n"
            assert b"hello from /p" in await it.say(head.encode() + sent)
            assert site.seen[0][3] == body
            assert (await it.logged())[0]["bytes_up"] == len(body)

    run(scenario())


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(tmp_path: Path) -> None:
    """`Expect: 100-continue` is answered by the proxy and not passed on."""

    async def scenario() -> None:
        async with web_server() as site, proxied(tmp_path, site.place) as it:
            reader, writer = await it.connect()
            head = f"PUT http://{site.place}/ HTTP/1.1\r\nHost: {site.place}\r\n"
            writer.write(f"{head}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            writer.write(b"ab")
            assert b"hello" in await reader.read()
            writer.close()
            assert "expect" not in {name.lower() for name in site.seen[0][2]}

    run(scenario())


def test_headers_between_neighbours_stay_between_them(tmp_path: Path) -> None:
    """Headers that Connection names, either way, end at the proxy."""

    async def scenario() -> None:
        async with web_server() as site, proxied(tmp_path, site.place) as it:
            said = await it.get(
                f"http://{site.place}/hop",
                "Connection: keep-alive, X-Secret",
                "X-Secret: 1",
                "Proxy-Authorization: Basic eHg=",
            )
            assert b"x-own" not in said.lower()
            assert not {"x-secret", "proxy-authorization"} & {n.lower() for n in site.seen[0][2]}

    run(scenario())


def test_programs_take_it_for_a_proxy(tmp_path: Path) -> None:
    """Python's own client reaches a permitted host through it, and reads why another is refused."""

    async def scenario() -> None:
        async with web_server() as site, proxied(tmp_path, site.place) as it:

            async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                inner, outer = await it.connect()
                await asyncio.gather(copied(reader, outer), copied(inner, writer))

            async with await asyncio.start_server(forward, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                proxy = urllib.request.ProxyHandler(
                    dict.fromkeys(("http", "https"), f"http://127.0.0.1:{port}")
                )
                opener = urllib.request.build_opener(proxy)

                def fetch(url: str) -> str:
                    with opener.open(url, timeout=30) as response:
                        return str(response.read().decode())

                assert await asyncio.to_thread(fetch, f"http://{site.place}/x") == "hello from /x"
                with pytest.raises(OSError, match=r"example\.com:443 is not in runner\.network"):
                    await asyncio.to_thread(fetch, "https://example.com/")

    run(scenario())


async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_a_tunnel_carries_any_bytes(tmp_path: Path) -> None:
    """CONNECT opens a tunnel both ways; what was said too early arrives; ends are passed on."""
    data = bytes(range(256)) * 4000

    async def scenario() -> None:
        async with echo_server() as port, proxied(tmp_path, f"127.0.0.1:{port}") as it:
            said = await it.say(connect_head(f"127.0.0.1:{port}") + data, end=True)
            head, _, rest = said.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 Connection established")
            assert rest == data
            [line] = await it.logged()
            assert (line["bytes_up"], line["bytes_down"]) == (len(data), len(data))
            assert line["outcome"] == "complete"

    run(scenario())


def test_python_asks_for_tunnels_in_the_old_way(tmp_path: Path) -> None:
    """An HTTP/1.0 CONNECT without Host, as http.client sends it, opens a tunnel."""

    async def scenario() -> None:
        async with echo_server() as port, proxied(tmp_path, f"127.0.0.1:{port}") as it:
            said = await it.say(f"CONNECT 127.0.0.1:{port} HTTP/1.0\r\n\r\nhi".encode(), end=True)
            assert said.startswith(b"HTTP/1.1 200 ")
            assert said.endswith(b"\r\n\r\nhi")

    run(scenario())


@pytest.mark.parametrize(
    ("data", "status", "text"),
    [
        (connect_head("example.com:443"), 403, "example.com:443 is not in runner.network.allow"),
        (connect_head("example.org:80"), 403, "allowed: example.org:443, *.example.net:443"),
        (connect_head("example.net:443"), 403, "example.net:443 is not in"),
        (connect_head("badexample.net:443"), 403, "badexample.net:443 is not in"),
        (connect_head("8.8.8.8:443"), 403, "8.8.8.8:443 is not in"),
        (connect_head("[2001:4860::8888]:443"), 403, "[2001:4860::8888]:443 is not in"),
        (connect_head("example.org"), 400, "names no port"),
        (connect_head("example.org:"), 400, "is no port"),
        (connect_head("example.org:99999"), 400, "is no port"),
        (connect_head("example.org:0443"), 400, "is no port"),
        (connect_head("0x7f.0.0.1:443"), 400, "is no IP address|is no host name|is not in"),
        (connect_head("2130706433:443"), 400, "is no IP address"),
        (connect_head("[::1%25lo]:443"), 400, "is no IPv6 address"),
        (connect_head("a@example.org:443"), 400, "is no host name"),
        (connect_head("http://example.org:443"), 400, "is no host"),
        (b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", 400, "another host"),
        (
            b"CONNECT example.org:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            400,
            "takes no body",
        ),
        (b"GET /etc/passwd HTTP/1.1\r\nHost: example.org\r\n\r\n", 400, "this is a proxy"),
        (b"OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n", 400, "this is a proxy"),
        (b"GET https://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n", 400, "use CONNECT"),
        (b"GET ftp://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n", 400, "use CONNECT"),
        (b"GET http://u:p@example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n", 400, "user name"),
        (b"GET http://example.org:443/ HTTP/1.1\r\nHost: x.org:443\r\n\r\n", 400, "another host"),
        (
            b"GET http://example.org/#f HTTP/1.1\r\nHost: example.org\r\n\r\n",
            400,
            "this is a proxy",
        ),
        (b"GET http:/// HTTP/1.1\r\nHost: example.org\r\n\r\n", 400, "is no host name"),
        (
            b"POST http://a:443/ HTTP/1.1\r\nHost: a:443\r\n" + TWO_LENGTHS,
            400,
            "not both",
        ),
        (b"GET http://example.org:443/ HTTP/1.1\r\n\r\n", 400, "no HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "no HTTP request"),
        (b"CONNECT \xff\xfe:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "no HTTP request|no host"),
        (b"GET http://example.org:443/ HTTP/1.1\r\nA: " + b"x" * 40_000, 431, "no HTTP request"),
    ],
)
def test_what_is_refused_says_why(tmp_path: Path, data: bytes, status: int, text: str) -> None:
    """A refusal is a sentence that an agent can act on; nothing was looked up or connected to."""
    names = Names(["127.0.0.1"])

    async def scenario() -> None:
        async with proxied(tmp_path, "example.org:443", "*.example.net:443", resolve=names) as it:
            said = (await it.say(data)).decode()
            assert said.startswith((f"HTTP/1.1 {status} ", "HTTP/1.1 403 "))
            body = said.partition("\r\n\r\n")[2]
            assert any(each in body for each in text.split("|")), body
            assert body.isascii()
            [line] = await it.logged()
            assert line["outcome"] == "refused"
            assert names.asked == []

    run(scenario())


@pytest.mark.parametrize("address", INSIDE.split())
def test_a_name_that_leads_inside_is_refused(tmp_path: Path, address: str) -> None:
    """No name reaches an address that is not public, though all names are permitted."""
    names = Names(["93.184.215.14", address])

    async def scenario() -> None:
        async with proxied(tmp_path, "*:443", "inside.example:443", resolve=names) as it:
            said = (await it.say(connect_head("inside.example:443"))).decode()
            assert said.startswith("HTTP/1.1 403 inside.example:443 leads to ")
            assert address not in said
            host = f"[{address}]" if ":" in address else address
            said = (await it.say(connect_head(f"{host}:443"))).decode()
            assert said.startswith("HTTP/1.1 403 ")
            assert {line["outcome"] for line in await it.logged(2)} == {"refused"}

    run(scenario())


def test_an_address_that_is_listed_is_reached(tmp_path: Path) -> None:
    """A private address counts as meant where it is listed, by itself or by a name of one's own."""

    async def scenario() -> None:
        async with web_server() as site:
            names = Names(["127.0.0.1"])
            listed = (f"example.org:{site.port}", f"127.0.0.1:{site.port}")
            async with proxied(tmp_path / "a", *listed, resolve=names) as it:
                assert b"hello" in await it.get(f"http://example.org:{site.port}/")
            own = f"build.internal:{site.port}"
            async with proxied(tmp_path / "b", own, resolve=names) as it:
                assert b"hello" in await it.get(f"http://{own}/")
            async with proxied(tmp_path / "c", f"*:{site.port}", resolve=names) as it:
                assert b"403" in await it.get(f"http://{own}/")
            other = (f"example.org:{site.port}", "127.0.0.1:1")
            async with proxied(tmp_path / "d", *other, resolve=names) as it:
                assert b"403" in await it.get(f"http://example.org:{site.port}/")

    run(scenario())


def test_a_name_is_looked_up_once(tmp_path: Path) -> None:
    """The connection goes to the address that was checked, whatever the name says next."""
    names = Names(["127.0.0.1"], ["169.254.169.254"])

    async def scenario() -> None:
        async with web_server() as site:
            listed = (f"rebind.example:{site.port}", f"127.0.0.1:{site.port}")
            async with proxied(tmp_path, *listed, resolve=names) as it:
                url = f"http://rebind.example:{site.port}/"
                assert b"hello" in await it.get(url)
                assert names.asked == ["rebind.example"]
                assert b"leads to a cloud's metadata service" in await it.get(url)
                assert len(site.seen) == 1

    run(scenario())


def test_names_are_looked_up_by_the_system(tmp_path: Path) -> None:
    """Without a resolver of its own the proxy asks the system; a name without addresses is told."""

    async def scenario() -> None:
        async with (
            web_server() as site,
            proxied(tmp_path, f"localhost:{site.port}", "no.invalid:80") as it,
        ):
            assert b"hello" in await it.get(f"http://localhost:{site.port}/")
            said = await it.get("http://no.invalid/")
            assert b"502 the name no.invalid was not found" in said

    run(scenario())


def test_nobody_at_the_address(tmp_path: Path) -> None:
    """A server that does not answer is told as such."""

    async def scenario() -> None:
        async with proxied(tmp_path, "127.0.0.1:1") as it:
            said = await it.get("http://127.0.0.1:1/")
            assert b"502 127.0.0.1:1 cannot be connected to" in said
            assert (await it.logged())[0]["outcome"] == "failed"

    run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 40_000,
    ],
)
def test_a_server_without_a_proper_answer(tmp_path: Path, answer: bytes) -> None:
    """What is no HTTP answer is not passed on: the client gets 502."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with proxied(tmp_path, place) as it:
                said = await it.get(f"http://{place}/")
                assert said.startswith(b"HTTP/1.1 502 ")
                assert (await it.logged())[0]["outcome"] == "broken"

    run(scenario())


def test_the_runs_bytes_are_counted_over_all_its_agents(tmp_path: Path) -> None:
    """When the run's megabytes are used up a connection is cut, and no agent gets another."""
    limits = LIMITS._replace(max_bytes=1_200_000)

    async def scenario() -> None:
        with EgressMeter(limits, tmp_path / "egress.jsonl") as meter:
            async with (
                web_server() as site,
                proxied(tmp_path, site.place, meter=meter) as one,
                proxied(tmp_path, site.place, meter=meter, agent_id="agent_b") as two,
            ):
                assert (await one.get(f"http://{site.place}/big")).count(b"x") >= 1_000_000
                assert (await two.get(f"http://{site.place}/big")).count(b"x") < 1_000_000
                assert b"403 this run has sent and received 1 MB" in await one.get(
                    f"http://{site.place}/"
                )
                ends = {(line["agent_id"], line["outcome"]) for line in await one.logged(3)}
                assert ends == {
                    ("agent_a", "complete"),
                    ("agent_b", "limit"),
                    ("agent_a", "limit"),
                }
                assert meter.bytes_moved == limits.max_bytes

    run(scenario())


def test_connections_are_counted_over_all_agents(tmp_path: Path) -> None:
    """One connection more than a run may have is refused, until another has ended."""
    limits = LIMITS._replace(max_connections=2)

    async def scenario() -> None:
        with EgressMeter(limits, tmp_path / "egress.jsonl") as meter:
            async with echo_server() as port:
                place = f"127.0.0.1:{port}"
                async with (
                    proxied(tmp_path, place, meter=meter) as one,
                    proxied(tmp_path, place, meter=meter, agent_id="agent_b") as two,
                ):
                    _, first = await tunnel_to(one, place)
                    _, second = await tunnel_to(two, place)
                    said = await one.say(connect_head(place))
                    assert b"503 this run has 2 connections open" in said
                    first.close()
                    await one.logged(2)
                    _, third = await tunnel_to(one, place)
                    second.close()
                    third.close()

    run(scenario())


def test_a_silent_tunnel_is_closed(tmp_path: Path) -> None:
    """A tunnel on which nothing moves is closed, and one that was half closed too."""
    limits = LIMITS._replace(idle_seconds=0.2)

    async def scenario() -> None:
        async with (
            echo_server() as port,
            proxied(tmp_path, f"127.0.0.1:{port}", limits=limits) as it,
        ):
            reader, writer = await tunnel_to(it, f"127.0.0.1:{port}")
            assert await reader.read() == b""
            writer.close()
            assert (await it.logged())[0]["outcome"] == "idle"

    run(scenario())


def test_a_slow_head_is_given_up(tmp_path: Path) -> None:
    """A client that never ends its head is closed, without a word or a line."""
    limits = LIMITS._replace(head_seconds=0.2)

    async def scenario() -> None:
        async with proxied(tmp_path, "example.org:80", limits=limits) as it:
            assert await it.say(b"GET http://example.org/ HTTP/1.1\r\nHost: exa") == b""
            assert it.log.read_text() == ""

    run(scenario())


def test_a_slow_look_up_is_given_up(tmp_path: Path) -> None:
    """A name whose servers never answer ends in a refusal."""

    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async def scenario() -> None:
        limits = LIMITS._replace(connect_seconds=0.2)
        async with proxied(tmp_path, "example.org:80", limits=limits, resolve=never) as it:
            assert b"504 example.org:80 did not answer within 0.2 s" in await it.get(
                "http://example.org/"
            )

    run(scenario())


def test_the_end_of_a_run_ends_its_connections(tmp_path: Path) -> None:
    """What is open when the proxy is left is cut and written down, and the socket is gone."""

    async def scenario() -> None:
        async with echo_server() as port:
            place = f"127.0.0.1:{port}"
            async with proxied(tmp_path, place) as it:
                reader, writer = await tunnel_to(it, place)
                _, silent = await it.connect()
            assert not it.socket.exists()
            assert await reader.read() == b""
            assert [line["outcome"] for line in await it.logged()] == ["cancelled"]
            writer.close()
            silent.close()

    run(scenario())


def test_the_log_has_an_end(tmp_path: Path) -> None:
    """A log that is full says so once and grows no more; connections go on."""
    log = tmp_path / "egress.jsonl"
    with log.open("wb") as file:
        file.truncate(16 * 1024 * 1024 - 10)

    async def scenario() -> None:
        async with web_server() as site, proxied(tmp_path, site.place) as it:
            for _ in range(3):
                assert b"hello" in await it.get(f"http://{site.place}/")

    run(scenario())
    assert log.read_bytes().endswith(b'{"outcome": "log full"}\n')
    assert log.stat().st_size < 16 * 1024 * 1024 + 100


def test_limits_come_from_the_configuration() -> None:
    """A megabyte is a million bytes."""
    network = NetworkConfig(max_connections=3, max_megabytes=7)
    assert egress_limits(network) == EgressLimits(3, 7_000_000)
