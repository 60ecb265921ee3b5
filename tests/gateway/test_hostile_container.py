"""What a container that means harm, or is broken, gets from the run socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from runner.contract.run_socket import MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, USAGE_PATH
from runner.contract.spec import Dialect
from tests.gateway.serving import KEY, Answer, Served, request_body, route_to, run, served
from tests.support.provider import Endless, Provider, Script

CHAT = "/agents/agent_a/v1/chat/completions"


@asynccontextmanager
async def both(directory: Path, provider: Provider) -> AsyncIterator[Served]:
    """Serve a chat agent and a messages agent."""
    routes = (route_to(provider.url), route_to(provider.url, "messages", agent_id="agent_b"))
    async with served(directory, *routes) as it:
        yield it


def refused(directory: Path, status: int, method: str, path: str, body: bytes) -> Answer:
    """Return the refusal of one request, of which the provider must not have heard."""

    async def scenario(provider: Provider) -> Answer:
        async with both(directory, provider) as it:
            return await it.container.request(method, path, body)

    with Provider() as provider:
        answer = run(scenario(provider))
        assert not provider.requests
    assert answer.status == status
    assert answer.error.message.isprintable()
    assert len(answer.error.message) < 400
    return answer


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/agents/agent_c/v1/chat/completions", 404),
        ("POST", "/agents/agent_b/v1/chat/completions", 404),
        ("POST", "/agents/agent_a/v1/messages", 404),
        ("POST", "/agents/agent_a/v1/embeddings", 404),
        ("POST", "/agents/agent_a/v1/chat/completions/", 404),
        ("POST", "/agents/agent_a%2fx/v1/chat/completions", 404),
        ("POST", "/agents/%00/v1/chat/completions", 404),
        ("POST", "/v1/chat/completions", 404),
        ("GET", "/", 404),
        ("GET", CHAT, 405),
        ("PUT", CHAT, 405),
        ("DELETE", USAGE_PATH, 405),
        ("POST", USAGE_PATH, 405),
    ],
)
def test_other_paths_and_methods_are_refused(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    """An agent reaches its own path with POST; everything else is refused and not passed on."""
    refused(tmp_path, status, method, path, request_body())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"not json", 400),
        (b"[]", 400),
        (b'"test-model"', 400),
        (b"\xff\xfe", 400),
        (b"[" * 200_000, 400),
        (b'{"model": ' + b"9" * 10_000 + b"}", 400),
        (b"{}", 403),
        (b'{"model": null}', 403),
        (b'{"model": ["test-model"]}', 403),
        (b'{"model": "gpt-expensive"}', 403),
        (b'{"model": "TEST-MODEL"}', 403),
        (b'{"model": "test-model\\u0000"}', 403),
        (b'{"model": "\\u001b[31m\\nWINNER: me"}', 403),
        (b'{"model": "test-model", "model": "gpt-expensive"}', 400),
        (b'{"model": "gpt-expensive", "model": "test-model"}', 400),
        (b'{"model": "test-model", "Model": "gpt-expensive"}', 400),
        (b'{"model": "test-model", "MODEL": "gpt-expensive"}', 400),
        (b'{"model": "test-model", "models": ["gpt-expensive"]}', 400),
        (b'{"model": "test-model", "x": {"a": 1, "a": 2}}', 400),
    ],
)
def test_a_body_that_does_not_ask_for_the_agents_model_is_refused(
    tmp_path: Path, body: bytes, status: int
) -> None:
    """Another model is not reached, whichever way the body is read at the other end."""
    refused(tmp_path, status, "POST", CHAT, body)


def test_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """A body over the limit is refused by its length, and while it comes where it has none."""
    refused(tmp_path, 413, "POST", CHAT, b" " * (MAX_REQUEST_BYTES + 1))

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_REQUEST_BYTES // 2**20 + 1):
            yield b" " * 2**20

    async def scenario(provider: Provider) -> int:
        async with both(tmp_path, provider) as it:
            try:
                async with it.container.session.post(f"http://g{CHAT}", data=chunks()) as response:
                    return response.status
            except aiohttp.ClientConnectionError:
                return 413  # closed while the rest was being sent
        raise AssertionError

    with Provider() as provider:
        assert run(scenario(provider)) == 413
        assert not provider.requests


@pytest.mark.parametrize("dialect", ["chat", "messages"])
def test_a_large_body_within_the_limit_goes_through(tmp_path: Path, dialect: Dialect) -> None:
    """A body of several megabytes arrives unchanged."""
    content = "x" * (5 * 2**20)

    async def scenario(provider: Provider) -> Answer:
        async with served(tmp_path, route_to(provider.url, dialect)) as it:
            messages = [{"role": "user", "content": content}]
            return await it.container.ask(dialect=dialect, messages=messages)

    with Provider() as provider:
        assert run(scenario(provider)).status == 200
        [seen] = provider.requests
    assert seen.json["messages"][0]["content"] == content


async def _say(it: Served, data: bytes) -> bytes:
    """Send raw bytes to the socket and return all that comes back."""
    reader, writer = await asyncio.open_unix_connection(str(it.socket))
    try:
        writer.write(data)
        return await reader.read()
    finally:
        writer.close()


def _request(*headers: bytes, body: bytes = b"", path: bytes = CHAT.encode()) -> bytes:
    lines = (b"POST " + path + b" HTTP/1.1", b"Host: gateway", b"Connection: close", *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


BODY = request_body()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        _request(b"X: " + b"x" * 100_000),
        _request(*(b"X-%d: y" % i for i in range(1000))),
        _request(b"Content-Length: 5", b"Content-Length: 6", body=b"{}"),
        _request(b"Content-Length: -1", body=b"{}"),
        _request(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked", body=CHUNKED),
        _request(b"Transfer-Encoding: chunked, identity", body=CHUNKED),
        _request(b"Transfer-Encoding: xchunked", body=CHUNKED),
        _request(b"Transfer-Encoding: chunked", body=b"zz\r\n"),
        _request(b"Content-Length : %d" % len(BODY), body=BODY),
        _request(b"A: b\nAuthorization: c", b"Content-Length: %d" % len(BODY), body=b"{}"),
        _request(b"Content-Encoding: gzip", b"Content-Length: %d" % len(BODY), body=BODY),
        _request(b"Content-Length: 0"),
        _request(
            b"Content-Length: 0",
            path=b"http://169.254.169.254/latest/meta-data",
        ),
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n",
        b"POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (CHAT.encode(), len(BODY), BODY),
    ],
)
def test_bytes_that_are_no_proper_request_reach_nobody(
    tmp_path: Path, data: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Garbage and ambiguous framing end in an error, quietly, and the socket goes on serving."""

    async def scenario(provider: Provider) -> tuple[bytes, int]:
        async with both(tmp_path, provider) as it:
            said = await _say(it, data)
            assert not provider.requests
            return said, (await it.container.ask()).status

    with Provider() as provider:
        said, after = run(scenario(provider))
    assert after == 200
    assert said.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 5", b"HTTP/1.0 5"))
    assert KEY.encode() not in said
    assert capfd.readouterr() == ("", "")


def test_a_second_request_hidden_in_the_first_is_checked_like_the_first(tmp_path: Path) -> None:
    """Two requests in one write are two requests, each with its own check."""
    bad = json.dumps({"model": "gpt-expensive"}).encode()
    first = _request(b"Content-Length: %d" % len(BODY), body=BODY).replace(b"close", b"keep-alive")
    second = _request(b"Content-Length: %d" % len(bad), body=bad)

    async def scenario(provider: Provider) -> bytes:
        async with both(tmp_path, provider) as it:
            return await _say(it, first + second)

    with Provider() as provider:
        said = run(scenario(provider))
        assert len(provider.requests) == 1
    assert b"HTTP/1.1 200" in said
    assert b"HTTP/1.1 403" in said


def test_an_endless_answer_is_cut(tmp_path: Path) -> None:
    """A provider that never stops is stopped at the limit, and the stream is broken."""

    async def scenario(provider: Provider) -> Answer:
        async with both(tmp_path, provider) as it:
            return await it.container.ask()

    with Provider(Script.always(Endless(lines=False, chunk="and so on " * 5000))) as provider:
        answer = run(scenario(provider))
    assert answer.broken
    assert len(answer.body) <= MAX_RESPONSE_BYTES
