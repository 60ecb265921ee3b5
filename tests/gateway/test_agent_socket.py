"""What an agent's container gets through its own socket: its model, and nothing of the others."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from runner.contract.agent_socket import CHAT_PATH, MESSAGES_PATH
from runner.contract.run_socket import USAGE_PATH
from runner.contract.spec import Dialect
from runner.contract.status import AgentErrorType
from runner.gateway.agent_socket import MAX_CALLS_UNDER_WAY, MAX_SERVICE_REQUESTS_UNDER_WAY
from runner.gateway.books import Budget
from runner.gateway.budget import Limits
from tests.gateway.serving import (
    KEY,
    MODEL,
    Answer,
    Container,
    Served,
    agent_at,
    request_body,
    route_to,
    run,
    served,
)
from tests.support.provider import Hold, Provider, Script, Text, Tokens

PATHS: dict[Dialect, str] = {"chat": CHAT_PATH, "messages": MESSAGES_PATH}


@asynccontextmanager
async def two_agents(directory: Path, provider: Provider) -> AsyncIterator[Served]:
    """Serve a chat agent `agent_a` and a messages agent `agent_b` with a model of its own."""
    other = route_to(provider.url, "messages", agent_id="agent_b")._replace(model="other-model")
    async with served(directory, route_to(provider.url), other) as it:
        yield it


async def post(
    container: Container, path: str, body: bytes, headers: dict[str, str] | None = None
) -> Answer:
    return await container.request("POST", path, body, headers)


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_call_counts_on_the_agent_and_the_run(
    tmp_path: Path, dialect: Dialect, stream: bool
) -> None:
    """A call through an agent's socket is answered, and is that agent's in the run's books."""

    async def scenario(provider: Provider) -> None:
        async with served(tmp_path, route_to(provider.url, dialect)) as it, agent_at(it) as agent:
            options: dict[str, Any] = {"stream": stream}
            if dialect == "chat" and stream:
                options["stream_options"] = {"include_usage": True}
            headers = {"Authorization": "Bearer placeholder", "x-api-key": "placeholder"}
            body = request_body(dialect, **options)
            answer = await post(agent, PATHS[dialect], body, headers)
            usage = it.gateway.usage()
            [record] = it.records()
        assert answer.status == 200
        assert b"forty-two" in answer.body
        assert (usage.calls, usage.input_tokens, usage.output_tokens) == (1, 300, 20)
        assert usage.by_agent["agent_a"].calls == 1
        assert record["agent_id"] == "agent_a"
        [seen] = provider.requests
        assert KEY in repr(seen.headers)
        assert "placeholder" not in repr(seen.headers)

    with Provider(Script.always(Text("forty-two", usage=Tokens(300, 20)))) as provider:
        run(scenario(provider))


def test_a_call_needs_the_agents_budget(tmp_path: Path) -> None:
    """What the agent has used up through one socket is used up for the other."""

    async def scenario(provider: Provider) -> tuple[Answer, Answer]:
        budget = Budget(per_agent=Limits(calls=1))
        async with (
            served(tmp_path, route_to(provider.url), budget=budget) as it,
            agent_at(it) as agent,
        ):
            first = await post(agent, CHAT_PATH, request_body())
            return first, await it.container.ask()

    with Provider() as provider:
        first, second = run(scenario(provider))
        assert len(provider.requests) == 1
    assert first.status == 200
    assert (second.status, second.error.type) == (402, AgentErrorType.BUDGET)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/agents/agent_a/v1/chat/completions"),
        ("POST", "/agents/agent_b/v1/messages"),
        ("POST", "/anthropic/v1/messages"),
        ("POST", "/gemini/v1beta/models/test-model:generateContent"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/../agents/agent_b/v1/messages"),
        ("POST", "/v1/%2e%2e/agents/agent_b/v1/messages"),
        ("POST", "//agents/agent_b/v1/messages"),
        ("POST", "/anthropic/../anthropic/v1/messages"),
        ("GET", USAGE_PATH),
        ("GET", "/"),
        ("GET", CHAT_PATH),
        ("DELETE", "/v1/models"),
    ],
)
def test_the_socket_of_one_agent_does_not_speak_for_another(
    tmp_path: Path, method: str, path: str
) -> None:
    """No other agent, no path of the run and no other dialect is behind an agent's socket."""
    other = request_body("messages", model="other-model")

    async def scenario(provider: Provider) -> Answer:
        async with two_agents(tmp_path, provider) as it, agent_at(it, "agent_a") as agent:
            return await agent.request(method, path, other)

    with Provider() as provider:
        answer = run(scenario(provider))
        assert not provider.requests
    assert answer.status in {404, 405}
    assert "POST /v1/chat/completions" in answer.error.message


def test_the_model_of_another_agent_is_refused(tmp_path: Path) -> None:
    """An agent's socket passes on its own model only, and says which that is."""

    async def scenario(provider: Provider) -> list[Answer]:
        async with (
            two_agents(tmp_path, provider) as it,
            agent_at(it, "agent_a") as a,
            agent_at(it, "agent_b") as b,
        ):
            return [
                await post(a, CHAT_PATH, request_body(model="other-model")),
                await post(b, MESSAGES_PATH, request_body("messages", model=MODEL)),
            ]

    with Provider() as provider:
        answers = run(scenario(provider))
        assert not provider.requests
    assert [answer.status for answer in answers] == [403, 403]
    assert [MODEL in answers[0].error.message, "other-model" in answers[1].error.message]


def test_an_agent_without_a_route_has_no_socket(tmp_path: Path) -> None:
    """A socket for an agent that the run does not have is not opened."""

    async def scenario(provider: Provider) -> None:
        async with served(tmp_path, route_to(provider.url)) as it:
            with pytest.raises(KeyError):
                async with it.gateway.agent_socket("agent_c", tmp_path):
                    raise AssertionError
            assert not (tmp_path / "agent.sock").exists()

    with Provider() as provider:
        run(scenario(provider))


@pytest.mark.parametrize(
    ("dialect", "path", "key"),
    [("chat", "/v1/models", "owned_by"), ("messages", "/anthropic/v1/models", "display_name")],
)
def test_the_list_of_models_has_the_agents_one(
    tmp_path: Path, dialect: Dialect, path: str, key: str
) -> None:
    """The list of models names the agent's model, without a call to the provider."""

    async def scenario(provider: Provider) -> Answer:
        async with served(tmp_path, route_to(provider.url, dialect)) as it, agent_at(it) as agent:
            return await agent.request("GET", path)

    with Provider() as provider:
        answer = run(scenario(provider))
        assert not provider.requests
    [model] = json.loads(answer.body)["data"]
    assert model["id"] == MODEL
    assert key in model


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_services_are_asked_below_their_names(tmp_path: Path, method: str) -> None:
    """Any method goes to whoever answers for the services, with the service's name and the rest."""

    async def answered(request: web.Request, name: str, tail: str) -> web.StreamResponse:
        text = f"{request.method} {name} {tail} {request.query_string} {await request.text()}"
        return web.Response(text=text)

    async def scenario(provider: Provider) -> tuple[Answer, Answer]:
        async with (
            two_agents(tmp_path, provider) as it,
            agent_at(it, "agent_a", answered) as a,
            agent_at(it, "agent_b") as b,
        ):
            path = "/services/search/v1/find?q=1"
            return await a.request(method, path, b"body"), await b.request(method, path, b"body")

    with Provider() as provider:
        answer, without = run(scenario(provider))
    assert answer.body == f"{method} search v1/find q=1 body".encode()
    assert without.status == 404


def test_requests_to_services_have_places_of_their_own(tmp_path: Path) -> None:
    """So many requests to services at once leave model calls alone; one more is told to wait."""

    async def scenario(provider: Provider) -> None:
        go_on = asyncio.Event()
        there = asyncio.Semaphore(0)

        async def held(*_: object) -> web.StreamResponse:
            there.release()
            await go_on.wait()
            return web.Response()

        async with (
            served(tmp_path, route_to(provider.url)) as it,
            agent_at(it, services=held) as agent,
        ):
            path = "/services/search/"
            asking = [
                asyncio.create_task(agent.request("GET", path))
                for _ in range(MAX_SERVICE_REQUESTS_UNDER_WAY)
            ]
            for _ in asking:
                await there.acquire()
            assert (await agent.request("GET", path)).status == 429
            assert (await post(agent, CHAT_PATH, request_body())).status == 200
            go_on.set()
            assert {answer.status for answer in await asyncio.gather(*asking)} == {200}

    with Provider() as provider:
        run(scenario(provider))


def test_calls_without_end_leave_the_run_its_own(tmp_path: Path) -> None:
    """An agent has so many calls under way at once; one more is told to wait, the run's is not."""

    async def scenario(provider: Provider) -> None:
        async with served(tmp_path, route_to(provider.url)) as it, agent_at(it) as agent:
            own = [
                asyncio.create_task(post(agent, CHAT_PATH, request_body()))
                for _ in range(MAX_CALLS_UNDER_WAY)
            ]
            await asyncio.to_thread(provider.log.wait_for_requests, MAX_CALLS_UNDER_WAY)
            one_more = await post(agent, CHAT_PATH, request_body())
            assert (one_more.status, one_more.error.type) == (429, AgentErrorType.RATE_LIMIT)
            assert one_more.headers["Retry-After"] == "1"
            runs = asyncio.create_task(it.container.ask())
            await asyncio.to_thread(provider.log.wait_for_requests, MAX_CALLS_UNDER_WAY + 1)
            provider.release("all")
            assert {answer.status for answer in await asyncio.gather(*own, runs)} == {200}
            assert (await post(agent, CHAT_PATH, request_body())).status == 200

    with Provider(Script.always(Hold("all", Text("forty-two")))) as provider:
        run(scenario(provider))


def test_silent_connections_leave_other_agents_and_the_run_alone(tmp_path: Path) -> None:
    """Connections that say nothing, as many as an agent likes, keep out neither it nor others."""

    async def scenario(provider: Provider) -> None:
        async with (
            two_agents(tmp_path, provider) as it,
            agent_at(it, "agent_a") as a,
            agent_at(it, "agent_b") as b,
        ):
            silent = [
                await asyncio.open_unix_connection(str(tmp_path / "agent_a" / "agent.sock"))
                for _ in range(300)
            ]
            body = request_body("messages", model="other-model")
            assert (await post(b, MESSAGES_PATH, body)).status == 200
            assert (await it.container.ask()).status == 200
            assert (await post(a, CHAT_PATH, request_body())).status == 200
            for _, writer in silent:
                writer.close()

    with Provider() as provider:
        run(scenario(provider))
