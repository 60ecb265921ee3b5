"""A gateway before a scripted provider, and a client as the container has one. Runs on: host."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import aiohttp

from runner.config.providers import PROVIDERS
from runner.contract.agent_socket import AGENT_SOCKET_NAME
from runner.contract.run_socket import GatewayError, GatewayErrorBody, model_path
from runner.contract.spec import Dialect
from runner.gateway.agent_socket import AnswerService
from runner.gateway.credentials import Credential
from runner.gateway.rate_limits import RateLimiter
from runner.gateway.routes import Route, build_route
from runner.gateway.server import Gateway
from runner.gateway.upstream import ModelCalls, RetryPolicy

T = TypeVar("T")
KEY = "sk-test-0123456789abcdefghijklmnopqrstuvwxyz"
MODEL = "test-model"
RUN_ID = "20260101-000000-0123abcd"
QUICK = RetryPolicy(attempts=3, max_wait_seconds=0.05, first_wait_seconds=0.01)

_PROVIDER_OF: dict[Dialect, str] = {"chat": "openai", "messages": "claude"}


class Answer(NamedTuple):
    """What the container got: status, headers, body; `broken` when the body did not end well."""

    status: int
    headers: dict[str, str]
    body: bytes
    broken: bool = False

    @property
    def error(self) -> GatewayError:
        return GatewayErrorBody.model_validate_json(self.body).error


class Container:
    """Speaks to a run socket as the run container does."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def ask(
        self,
        agent_id: str = "agent_a",
        dialect: Dialect = "chat",
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> Answer:
        """POST a model request; `fields` go into its body."""
        data = request_body(dialect, **fields) if body is None else body
        return await self.request("POST", model_path(agent_id, dialect), data, headers)

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        headers = {"Content-Type": "application/json"} | (headers or {})
        async with self.session.request(
            method, f"http://gateway{path}", data=io.BytesIO(body or b""), headers=headers
        ) as response:
            got = bytearray()
            broken = False
            try:
                async for chunk in response.content.iter_any():
                    got += chunk
            except aiohttp.ClientError:
                broken = True
            return Answer(response.status, dict(response.headers), bytes(got), broken)


class Served(NamedTuple):
    gateway: Gateway
    container: Container
    socket: Path
    ledger: Path

    def records(self) -> list[dict[str, Any]]:
        """Return what the ledger says of the calls that have ended, in the order of their ends."""
        lines = [json.loads(line) for line in self.ledger.read_text().splitlines()]
        settled = {line["call_id"]: line for line in lines if line["state"] == "settled"}
        return list(settled.values())


def request_body(dialect: Dialect = "chat", **fields: Any) -> bytes:
    """Return a small valid request, streamed unless `fields` say otherwise."""
    body: dict[str, Any] = {
        "model": MODEL,
        "stream": True,
        "messages": [{"role": "user", "content": "What is the answer?"}],
    }
    if dialect == "messages":
        body["max_tokens"] = 100
    return json.dumps(body | fields).encode()


def route_to(
    url: str, dialect: Dialect = "chat", *, agent_id: str = "agent_a", key: str | None = KEY
) -> Route:
    """Return a route to the scripted provider at `url`, with a credential."""
    provider = PROVIDERS[_PROVIDER_OF[dialect]]
    credential = Credential(key, variable="TEST_KEY", source="the environment") if key else None
    return build_route(agent_id, provider, model=MODEL, base_url=url, credential=credential)


@asynccontextmanager
async def served(
    directory: Path,
    *routes: Route,
    retry: RetryPolicy = QUICK,
    stall_timeout_seconds: float = 30.0,
    limiter: RateLimiter | None = None,
    upstream: ModelCalls | None = None,
    **money: Any,
) -> AsyncIterator[Served]:
    """Serve `routes` from a socket below `directory`, and connect a container to it.

    `money` is the gateway's `prices`, `budget` and `notify`.
    """
    socket_dir = directory / "socket"
    socket_dir.mkdir(exist_ok=True)
    ledger = directory / "usage.jsonl"
    path = socket_dir / "run.sock"
    async with (
        Gateway(
            {route.agent_id: route for route in routes},
            socket_dir=socket_dir,
            ledger=ledger,
            run_id=RUN_ID,
            retry=retry,
            stall_timeout_seconds=stall_timeout_seconds,
            limiter=limiter,
            **money,
            upstream=upstream,
        ) as gateway,
        container_at(path) as container,
    ):
        yield Served(gateway, container, path, ledger)


@asynccontextmanager
async def container_at(path: Path) -> AsyncIterator[Container]:
    """Connect to the run socket at `path`, of at most 107 bytes."""
    connector = aiohttp.UnixConnector(str(path), limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Container(session)


@asynccontextmanager
async def agent_at(
    it: Served, agent_id: str = "agent_a", services: AnswerService | None = None
) -> AsyncIterator[Container]:
    """Open the agent's own socket beside the run's, and connect a container to it."""
    directory = it.socket.parent.parent / agent_id
    directory.mkdir()
    async with (
        it.gateway.agent_socket(agent_id, directory, services=services),
        container_at(directory / AGENT_SOCKET_NAME) as container,
    ):
        yield container


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Run an asynchronous test to its end, or fail after a minute."""

    async def limited() -> T:
        async with asyncio.timeout(60):
            return await scenario

    return asyncio.run(limited())
