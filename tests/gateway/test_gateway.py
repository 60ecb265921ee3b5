"""What a container gets through the run socket, and what the provider sees of it."""

import asyncio
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from runner.contract.run_socket import USAGE_PATH
from runner.contract.spec import Dialect
from runner.contract.usage import RunUsage
from runner.gateway.server import Gateway
from tests.gateway.serving import KEY, MODEL, RUN_ID, request_body, route_to, run, served
from tests.support.provider import Hold, Provider, Rule, Script, Silence, Text, Tokens


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@pytest.mark.parametrize("stream", [True, False])
def test_passes_an_answer_through_and_counts_it(
    tmp_path: Path, dialect: Dialect, stream: bool
) -> None:
    """An answer arrives whole, in either dialect, and its tokens are on the books."""

    async def scenario(provider: Provider) -> None:
        options: dict[str, Any] = {"stream": stream}
        if dialect == "chat" and stream:
            options["stream_options"] = {"include_usage": True}
        async with served(tmp_path, route_to(provider.url, dialect)) as it:
            answer = await it.container.ask(dialect=dialect, **options)
            usage = RunUsage.model_validate_json(
                (await it.container.request("GET", USAGE_PATH)).body
            )
            records = it.records()

        assert answer.status == 200
        assert not answer.broken
        expected = "text/event-stream" if stream else "application/json"
        assert answer.headers["Content-Type"].startswith(expected)
        assert b"forty-two" in answer.body
        assert (usage.calls, usage.input_tokens, usage.output_tokens) == (1, 300, 20)
        assert usage.cached_tokens == 100
        assert usage.by_agent["agent_a"] == usage.by_model[MODEL]
        [record] = records
        assert record["run_id"] == RUN_ID
        assert record["end"] == "complete"
        assert record["status"] == 200
        assert record["estimated"] is False

    reply = Text("forty-two", usage=Tokens(300, 20, 100))
    with Provider(Script.always(reply)) as provider:
        run(scenario(provider))


@pytest.mark.parametrize("dialect", ["chat", "messages"])
def test_adds_the_credential_and_strips_the_containers_headers(
    tmp_path: Path, dialect: Dialect
) -> None:
    """The provider sees the host's credential and nothing that the container put into headers."""

    async def scenario(provider: Provider) -> None:
        async with served(tmp_path, route_to(provider.url, dialect)) as it:
            headers = {
                "Authorization": "Bearer container",
                "x-api-key": "container",
                "api-key": "container",
                "Cookie": "a=container",
                "X-Forwarded-For": "container",
                "OpenAI-Organization": "container",
                "anthropic-beta": "container",
                "Accept": "container/x",
                "User-Agent": "container",
                "Connection": "keep-alive, x-container",
                "Proxy-Authorization": "Basic container",
            }
            answer = await it.container.ask(dialect=dialect, headers=headers)
        assert answer.status == 200
        [seen] = provider.requests
        name, value = (
            ("Authorization", f"Bearer {KEY}") if dialect == "chat" else ("x-api-key", KEY)
        )
        assert seen.header(name) == value
        assert "container" not in repr(seen.headers)
        assert seen.body == request_body(dialect)
        if dialect == "messages":
            assert seen.header("anthropic-version") == "2023-06-01"

    with Provider() as provider:
        run(scenario(provider))


def test_streams_bytes_as_they_come(tmp_path: Path) -> None:
    """What the provider has sent is with the container before the provider sends more."""

    async def scenario(provider: Provider) -> None:
        async with served(tmp_path, route_to(provider.url)) as it:
            url = "http://gateway/agents/agent_a/v1/chat/completions"
            async with it.container.session.post(url, data=request_body()) as response:
                first = await response.content.readany()
        assert first.startswith(b"data: ")

    with Provider(Script.always(Silence(after_chunks=2))) as provider:
        run(scenario(provider))


def test_a_container_that_hangs_up_ends_the_call_to_the_provider(tmp_path: Path) -> None:
    """The provider's connection is cut when the container goes, and what is known is counted."""

    async def scenario(provider: Provider) -> None:
        async with served(tmp_path, route_to(provider.url)) as it:
            url = "http://gateway/agents/agent_a/v1/chat/completions"
            async with it.container.session.post(url, data=request_body()) as response:
                seen = b""
                while seen.count(b"data:") < 4:
                    seen += await response.content.readany()
                response.close()
            await asyncio.to_thread(
                provider.log.wait_for, lambda log: any(e.disconnected for e in log.ends.values())
            )
            while not it.gateway.usage().calls:  # the limit is run()'s
                await asyncio.sleep(0.01)
            [record] = it.records()
        assert record["end"] == "cancelled"
        assert record["estimated"] is True
        assert record["input_tokens"] > 0
        assert record["output_tokens"] > 0

    with Provider(Script.always(Silence(after_chunks=4))) as provider:
        run(scenario(provider))


def test_a_socket_directory_may_be_longer_than_a_socket_address(tmp_path: Path) -> None:
    """A run directory deep in the file system works, and only its owner can connect."""
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)

    async def scenario() -> int:
        async with Gateway({}, socket_dir=deep, ledger=deep / "u", run_id=RUN_ID):
            mode = (deep / "run.sock").stat().st_mode
            with socket.socket(socket.AF_UNIX) as client:
                directory = os.open(deep, os.O_RDONLY)
                client.connect(f"/proc/self/fd/{directory}/run.sock")
                os.close(directory)
        return mode

    mode = run(scenario())
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert not (deep / "run.sock").exists()


def test_replaces_the_socket_of_a_gateway_that_was_killed(tmp_path: Path) -> None:
    """A socket file that nobody listens on any more does not stop the next gateway."""
    (tmp_path / "socket").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "socket" / "run.sock"))

    async def scenario(provider: Provider) -> int:
        async with served(tmp_path, route_to(provider.url)) as it:
            return (await it.container.ask()).status

    with Provider() as provider:
        assert run(scenario(provider)) == 200


def test_two_hundred_streams_at_once(tmp_path: Path) -> None:
    """Two hundred open streams all arrive whole and are all counted."""

    async def scenario(provider: Provider) -> None:
        async with served(tmp_path, route_to(provider.url)) as it:
            asking = [asyncio.create_task(it.container.ask()) for _ in range(200)]
            await asyncio.to_thread(provider.log.wait_for_requests, 200)
            provider.release("all")
            answers = await asyncio.gather(*asking)
            assert it.gateway.usage().calls == 200
            assert len(it.records()) == 200
        assert {(200, False)} == {(a.status, a.broken) for a in answers}
        assert all(a.body.endswith(b"data: [DONE]\n\n") for a in answers)

    with Provider(Script.always(Hold("all", Text("word " * 50, tokens_per_chunk=1)))) as provider:
        run(scenario(provider))


def test_a_slow_container_slows_the_provider_down(tmp_path: Path) -> None:
    """The gateway does not keep what the container does not read, and does not call it a stall."""

    async def scenario(provider: Provider) -> None:
        route = route_to(provider.url)
        async with served(tmp_path, route, stall_timeout_seconds=0.5) as it:
            reader, writer = await asyncio.open_unix_connection(str(it.socket), limit=1024)
            body = request_body()
            writer.write(
                b"POST /agents/agent_a/v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            deadline = asyncio.get_running_loop().time() + 1.0  # twice what a stall takes
            while asyncio.get_running_loop().time() < deadline:
                messages = [{"role": "user", "content": "small"}]
                assert (await it.container.ask(messages=messages)).status == 200
            assert 1 not in provider.log.ends
            rest = await reader.read(-1)
            writer.close()
        assert rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")

    # Far more than the sockets on the way hold.
    large = Text("x" * 20_000_000, tokens_per_chunk=4096)
    script = Script((Rule((Text("little"),), contains="small"), Rule((large,))))
    with Provider(script) as provider:
        run(scenario(provider))


def test_says_when_the_first_request_has_come(tmp_path: Path) -> None:
    """`requests_seen` is set by a model request and by nothing before it."""

    async def scenario(provider: Provider) -> None:
        async with served(tmp_path, route_to(provider.url)) as it:
            await it.container.request("GET", USAGE_PATH)
            await it.container.ask(body=b"{}")
            assert not it.gateway.requests_seen.is_set()
            await it.container.ask()
            assert it.gateway.requests_seen.is_set()

    with Provider() as provider:
        run(scenario(provider))


def test_the_ledger_goes_on_where_an_earlier_gateway_ended(tmp_path: Path) -> None:
    """A second gateway of the run appends to the same ledger, and counts what is in it."""

    async def scenario(provider: Provider) -> None:
        for number in (1, 2):
            async with served(tmp_path, route_to(provider.url)) as it:
                await it.container.ask()
                assert [record["model"] for record in it.records()] == [MODEL] * number
                assert it.gateway.usage().calls == number

    with Provider() as provider:
        run(scenario(provider))
