"""Proxies of the host's environment, and credentials that lie about on the host."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.gateway.serving import KEY, Answer, route_to, run, served
from tests.support.provider import Provider

EVENTS = b'data: {"choices": []}\n\ndata: [DONE]\n\n'


@asynccontextmanager
async def proxy(seen: list[bytes]) -> AsyncIterator[str]:
    """Serve as a forwarding proxy that answers by itself; what it was asked goes into `seen`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(EVENTS), EVENTS)
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def through_proxy(
    directory: Path, monkeypatch: pytest.MonkeyPatch, url: str, no_proxy: str = ""
) -> tuple[Answer, list[bytes]]:
    """Ask a model at `url` with a proxy in the environment; return what the proxy saw, too."""
    seen: list[bytes] = []

    async def scenario() -> Answer:
        async with proxy(seen) as address:
            monkeypatch.setenv("http_proxy", f"http://user:word@{address}")
            monkeypatch.setenv("no_proxy", no_proxy)
            async with served(directory, route_to(url)) as it:
                return await it.container.ask()

    return run(scenario()), seen


def test_calls_go_through_the_proxy_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's proxy gets the call, with its own credential, and its answer comes back."""
    answer, [seen] = through_proxy(tmp_path, monkeypatch, "http://llm.invalid/v1")
    assert (answer.status, answer.body) == (200, EVENTS)
    assert seen.startswith(b"POST http://llm.invalid/v1/chat/completions HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjp3b3Jk" in seen
    assert f"Authorization: Bearer {KEY}".encode() in seen


def test_no_proxy_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that NO_PROXY names is called directly."""
    answer, seen = through_proxy(tmp_path, monkeypatch, "http://llm.invalid/v1", ".invalid")
    assert answer.status == 502
    assert not seen


def test_this_machine_is_never_behind_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server on the loopback is called directly, whatever the environment says."""
    with Provider() as provider:
        answer, seen = through_proxy(tmp_path, monkeypatch, provider.url)
        assert len(provider.requests) == 1
    assert answer.status == 200
    assert not seen


def test_credentials_in_netrc_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password for the provider's host in ~/.netrc is not sent, and does not get in the way."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password netrc-password\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    async def scenario(provider: Provider) -> Answer:
        async with served(tmp_path, route_to(provider.url)) as it:
            return await it.container.ask()

    with Provider() as provider:
        assert run(scenario(provider)).status == 200
        [seen] = provider.requests
    assert seen.header("Authorization") == f"Bearer {KEY}"


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_ca_bundle_that_is_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A variable that names a missing file, or one without certificates, is named itself."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    bundle = tmp_path / "bundle.pem"
    monkeypatch.setenv(name, str(bundle))

    async def scenario() -> Answer:
        async with served(tmp_path, route_to("https://llm.invalid/v1")) as it:
            return await it.container.ask()

    assert f"{name} names {bundle}" in run(scenario()).error.message
    bundle.write_text("no certificate")
    assert f"{name} names {bundle}" in run(scenario()).error.message
