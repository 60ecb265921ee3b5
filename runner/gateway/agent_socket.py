"""What an agent's own container reaches of the gateway: its model and services. Runs on: host.

The paths are those that the vendors' SDKs ask for below the base address that they are given. An
agent has those of the dialect that its provider speaks, and is told which they are otherwise.
Gemini's models have those of Google's own SDK too.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from runner.contract.agent_socket import (
    CHAT_PATH,
    GEMINI_PATH,
    GEMINI_PATHS,
    MESSAGES_PATH,
    SERVICES_PATH,
)
from runner.contract.run_socket import MAX_REQUEST_BYTES
from runner.contract.status import AgentErrorType
from runner.gateway import gemini
from runner.gateway.connections import MAX_CONNECTIONS, Connections
from runner.gateway.http_socket import Bodies, application, check_framing
from runner.gateway.model_answers import ModelAnswers
from runner.gateway.model_request import ModelRequest, check_model, check_request
from runner.gateway.refusal import Refusal
from runner.gateway.routes import Route

_CHAT_MODELS = "/v1/models"
_MESSAGES_MODELS = "/anthropic/v1/models"
_GEMINI_METHODS = frozenset({"generateContent", "streamGenerateContent"})
MAX_CALLS_UNDER_WAY = 8
"""Of one agent's own making: the run's coordination, which needs one, goes on beside them."""
MAX_SERVICE_REQUESTS_UNDER_WAY = 8
_MAX_PENDING_BYTES = 2 * MAX_REQUEST_BYTES
_MIN_CONNECTIONS = 2 * (MAX_CALLS_UNDER_WAY + MAX_SERVICE_REQUESTS_UNDER_WAY)
_RETRY_AFTER_SECONDS = 1
AnswerService = Callable[[web.Request, str, str], Awaitable[web.StreamResponse]]
"""Passes a request on to the service of a name; the path below it is given too. Raises Refusal."""


class AgentSocket:
    """The socket of one agent of a run that has `agents` of them."""

    def __init__(
        self,
        route: Route,
        answers: ModelAnswers,
        *,
        agents: int,
        services: AnswerService | None = None,
    ) -> None:
        self._route = route
        self._answers = answers
        self._services = services
        self._bodies = Bodies(_MAX_PENDING_BYTES)
        self._calls = _Places(MAX_CALLS_UNDER_WAY, "model calls")
        self._service_requests = _Places(MAX_SERVICE_REQUESTS_UNDER_WAY, "requests to services")
        # All agent sockets of a run take about as many descriptors as its run socket.
        self.connections = Connections(max(_MIN_CONNECTIONS, MAX_CONNECTIONS // agents))

    def application(self, redact: Callable[[str], str]) -> web.Application:
        """Return what is served: the paths that this agent has."""
        is_chat = self._route.dialect == "chat"
        calls, models = (CHAT_PATH, _CHAT_MODELS) if is_chat else (MESSAGES_PATH, _MESSAGES_MODELS)
        has_gemini = self._route.provider.name == gemini.PROVIDER
        own = f"POST {calls}"
        if has_gemini:
            own += f" or {GEMINI_PATH}/{gemini.bare_model(self._route.model)}:generateContent"
        has = f"this agent's model is called by {own}; GET {models} names it"
        app = application(redact, f"not a path that this agent has: {has}")
        app.router.add_post(calls, self._answer_model)
        app.router.add_get(models, self._answer_models, allow_head=False)
        if has_gemini:
            for path in GEMINI_PATHS:
                app.router.add_post(path + "/{model}:{method}", self._answer_gemini)
                app.router.add_get(path, self._answer_gemini_models, allow_head=False)
        if self._services is not None:
            app.router.add_route("*", SERVICES_PATH + "/{name}/{tail:.*}", self._answer_service)
        return app

    async def _answer_models(self, _: web.Request) -> web.Response:
        listed = _chat_models if self._route.dialect == "chat" else _messages_models
        return web.json_response(listed(self._route))

    async def _answer_gemini_models(self, _: web.Request) -> web.Response:
        return web.json_response(_gemini_models(self._route))

    async def _answer_service(self, request: web.Request) -> web.StreamResponse:
        assert self._services is not None, "the path is there"  # noqa: S101
        check_framing(request, encoded=True)
        with self._service_requests.taken(), self.connections.kept(request):
            where = request.match_info
            return await self._services(request, where["name"], where["tail"])

    async def _answer_model(self, request: web.Request) -> web.StreamResponse:
        return await self._passed_on(
            request, self._route, lambda body: check_request(body, self._route.model)
        )

    async def _answer_gemini(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        if method not in _GEMINI_METHODS:
            raise web.HTTPNotFound
        check_model(request.match_info["model"], gemini.bare_model(self._route.model))
        stream = method == "streamGenerateContent"
        if stream and request.query.get("alt") != "sse":
            raise Refusal(400, "a stream is given as events only: add ?alt=sse to the path")
        route = gemini.native_route(self._route, stream=stream)
        return await self._passed_on(
            request, route, lambda body: gemini.check_gemini(body, stream=stream)
        )

    async def _passed_on(
        self, request: web.Request, route: Route, check: Callable[[bytes], ModelRequest]
    ) -> web.StreamResponse:
        with self._calls.taken(), self.connections.kept(request):
            async with self._bodies.read(request) as body:
                return await self._answers.answer(request, route, check(body))


class _Places:
    """How many requests of a kind an agent may have under way at once."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._under_way = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have a place while in the block. Raises Refusal where there is none."""
        if self._under_way >= self._limit:
            raise Refusal(
                429,
                f"{self._limit} {self._what} of this agent are under way, which is the most: "
                "wait until one of them has ended",
                type=AgentErrorType.RATE_LIMIT,
                retry_after_seconds=_RETRY_AFTER_SECONDS,
            )
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1


def _chat_models(route: Route) -> dict[str, Any]:
    entry = {
        "id": route.model,
        "object": "model",
        "created": 0,
        "owned_by": route.provider.name,
    }
    return {"object": "list", "data": [entry]}


def _messages_models(route: Route) -> dict[str, Any]:
    entry = {
        "id": route.model,
        "type": "model",
        "display_name": route.model,
        "created_at": "1970-01-01T00:00:00Z",
    }
    return {
        "data": [entry],
        "first_id": route.model,
        "last_id": route.model,
        "has_more": False,
    }


def _gemini_models(route: Route) -> dict[str, Any]:
    model = gemini.bare_model(route.model)
    entry = {
        "name": f"models/{model}",
        "displayName": model,
        "supportedGenerationMethods": sorted(_GEMINI_METHODS),
    }
    return {"models": [entry]}
