"""The gateway: a run's sockets on which its containers reach its models. Runs on: host.

Having a socket mounted is the identity: whoever connects to the run socket may call the models
that the run's configuration names, each as its agent; whoever connects to an agent socket, that
agent's model; and nothing else.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Self

from aiohttp import web
from pydantic import ValidationError

from runner.contract.agent_socket import AGENT_SOCKET_NAME
from runner.contract.run_socket import (
    MAX_REQUEST_BYTES,
    MODEL_PATHS,
    USAGE_PATH,
    ContainerReply,
    ContainerRequest,
    container_path,
)
from runner.contract.spec import SOCKET_NAME, Dialect
from runner.contract.usage import RunUsage
from runner.gateway.agent_socket import AgentSocket, AnswerService
from runner.gateway.books import NO_BUDGET, Books, Budget
from runner.gateway.connections import Connections
from runner.gateway.http_socket import Bodies, application, serving
from runner.gateway.ledger import Ledger
from runner.gateway.model_answers import ModelAnswers
from runner.gateway.model_request import check_request
from runner.gateway.pricing import Price
from runner.gateway.rate_limits import RateLimiter
from runner.gateway.redaction import Redactor
from runner.gateway.refusal import Refusal
from runner.gateway.routes import Route
from runner.gateway.upstream import ModelCalls, RetryPolicy, Upstream

logger = logging.getLogger(__name__)

_MAX_PENDING_BYTES = 8 * MAX_REQUEST_BYTES
"""Of all request bodies together: what a container can make the host keep in memory."""
AnswerContainer = Callable[[str, ContainerRequest], Awaitable[ContainerReply]]
"""Does what coordination asks for about an agent's container. Raises Refusal."""
DEFAULT_RETRY = RetryPolicy()
NO_PRICES: Mapping[str, Price] = MappingProxyType({})


class Gateway:
    """Serve a run's socket while in `async with`.

    `socket_dir` exists, is the host's own, and may be longer than a socket's address can be;
    `socket_owner` is the uid that the container runs with, where it is not the caller's.
    `upstream` is asked instead of the providers; it is entered and left with the gateway.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        *,
        socket_dir: Path,
        ledger: Path,
        run_id: str,
        retry: RetryPolicy = DEFAULT_RETRY,
        stall_timeout_seconds: float = 300.0,
        socket_owner: int | None = None,
        prices: Mapping[str, Price] = NO_PRICES,
        budget: Budget = NO_BUDGET,
        notify: Callable[[str], None] = logger.warning,
        upstream: ModelCalls | None = None,
        limiter: RateLimiter | None = None,
        containers: AnswerContainer | None = None,
    ) -> None:
        self._routes = dict(routes)
        self._socket_dir = socket_dir
        self._socket_owner = socket_owner
        self._redact = Redactor(r.credential.reveal() for r in routes.values() if r.credential)
        self._ledger = Ledger(ledger)
        known = {agent_id: prices.get(agent_id) for agent_id in routes}
        self._books = Books(run_id, self._ledger, known, budget, notify)
        self._upstream = upstream or Upstream(
            retry=retry,
            stall_timeout_seconds=stall_timeout_seconds,
            redact=self._redact,
            limiter=limiter,
        )
        self._containers = containers
        self._answers = ModelAnswers(self._books, self._upstream)
        self._bodies = Bodies(_MAX_PENDING_BYTES)
        self._connections = Connections()
        self._stack = AsyncExitStack()
        self.requests_seen = self._answers.requests_seen

    def usage(self) -> RunUsage:
        """Return tokens and cost of all calls that have ended."""
        return self._books.usage()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._ledger)
            self._books.take_up()
            stack.callback(self._books.close)
            await stack.enter_async_context(self._upstream)
            await stack.enter_async_context(self._serving())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def agent_socket(
        self,
        agent_id: str,
        socket_dir: Path,
        socket_owner: int | None = None,
        *,
        services: AnswerService | None = None,
    ) -> AsyncIterator[None]:
        """Serve a socket that can speak for this one agent, while in the block.

        Its calls are on the books of the agent and the run; `services` answers what it asks below
        /services, where it has any. To be used while the gateway serves; directory and owner are
        as those of the run socket. Raises KeyError for an agent that the run does not have.
        """
        agent = AgentSocket(
            self._routes[agent_id],
            self._answers,
            agents=len(self._routes),
            services=services,
        )
        async with serving(
            agent.application(self._redact),
            agent.connections,
            directory=socket_dir,
            name=AGENT_SOCKET_NAME,
            owner=socket_owner,
        ):
            yield

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        async with serving(
            self._application(),
            self._connections,
            directory=self._socket_dir,
            name=SOCKET_NAME,
            owner=self._socket_owner,
        ):
            yield

    def _application(self) -> web.Application:
        app = application(self._redact, "not a path of the run socket")
        app.router.add_get(USAGE_PATH, self._answer_usage, allow_head=False)
        app.router.add_post("/agents/{agent_id}/" + MODEL_PATHS["chat"], self._answer_chat)
        app.router.add_post("/agents/{agent_id}/" + MODEL_PATHS["messages"], self._answer_messages)
        app.router.add_post(container_path("{agent_id}"), self._answer_container)
        return app

    async def _answer_usage(self, _: web.Request) -> web.Response:
        return web.Response(text=self.usage().model_dump_json(), content_type="application/json")

    async def _answer_container(self, request: web.Request) -> web.Response:
        if self._containers is None:
            raise Refusal(404, "no agent of this run has a container")
        async with self._bodies.read(request) as body:
            asked = _container_request(body)
        with self._connections.kept(request):
            reply = await self._containers(request.match_info["agent_id"], asked)
        return web.Response(text=reply.model_dump_json(), content_type="application/json")

    async def _answer_chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer_model(request, "chat")

    async def _answer_messages(self, request: web.Request) -> web.StreamResponse:
        return await self._answer_model(request, "messages")

    async def _answer_model(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        route = self._route(request.match_info["agent_id"], dialect)
        async with self._bodies.read(request) as body:
            asked = check_request(body, route.model)
            with self._connections.kept(request):
                return await self._answers.answer(request, route, asked)

    def _route(self, agent_id: str, dialect: Dialect) -> Route:
        route = self._routes.get(agent_id)
        if route is None:
            raise Refusal(404, "this run has no such agent")
        own = route.provider.dialect
        if own != dialect:
            raise Refusal(404, f"{agent_id} calls {MODEL_PATHS[own]}, not this path")
        return route


def _container_request(body: bytes) -> ContainerRequest:
    try:
        return ContainerRequest.model_validate_json(body)
    except ValidationError as error:
        raise Refusal(400, "the body is no request about a container") from error
