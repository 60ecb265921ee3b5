"""What an agent's own container reaches of the gateway: its model. Runs on: host.

The paths are those that the vendors' SDKs ask for below the base address that they are given. An
agent has those of the dialect that its provider speaks, and is told which they are otherwise.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from runner.contract.agent_socket import CHAT_PATH, MESSAGES_PATH
from runner.contract.run_socket import MAX_REQUEST_BYTES
from runner.contract.status import AgentErrorType
from runner.gateway.connections import MAX_CONNECTIONS, Connections
from runner.gateway.http_socket import Bodies, application
from runner.gateway.model_answers import ModelAnswers
from runner.gateway.model_request import check_request
from runner.gateway.refusal import Refusal
from runner.gateway.routes import Route

MAX_CALLS_UNDER_WAY = 8
"""Of one agent's own making: the run's coordination, which needs one, goes on beside them."""
_MAX_PENDING_BYTES = 2 * MAX_REQUEST_BYTES
_MIN_CONNECTIONS = 2 * MAX_CALLS_UNDER_WAY
_RETRY_AFTER_SECONDS = 1


class AgentSocket:
    """The socket of one agent of a run that has `agents` of them."""

    def __init__(self, route: Route, answers: ModelAnswers, *, agents: int) -> None:
        self._route = route
        self._answers = answers
        self._bodies = Bodies(_MAX_PENDING_BYTES)
        self._under_way = 0
        # All agent sockets of a run take about as many descriptors as its run socket.
        self.connections = Connections(max(_MIN_CONNECTIONS, MAX_CONNECTIONS // agents))

    def application(self, redact: Callable[[str], str]) -> web.Application:
        """Return what is served: the paths that this agent has."""
        is_chat = self._route.dialect == "chat"
        calls, models = (CHAT_PATH, "/v1/models") if is_chat else (MESSAGES_PATH, _MESSAGES_MODELS)
        has = f"this agent's model is called by POST {calls}; GET {models} names it"
        app = application(redact, f"not a path that this agent has: {has}")
        app.router.add_post(calls, self._answer_model)
        app.router.add_get(models, self._answer_models, allow_head=False)
        return app

    async def _answer_models(self, _: web.Request) -> web.Response:
        listed = _chat_models if self._route.dialect == "chat" else _messages_models
        return web.json_response(listed(self._route))

    async def _answer_model(self, request: web.Request) -> web.StreamResponse:
        with self._counted(), self.connections.kept(request):
            async with self._bodies.read(request) as body:
                asked = check_request(body, self._route.model)
                return await self._answers.answer(request, self._route, asked)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._under_way >= MAX_CALLS_UNDER_WAY:
            raise Refusal(
                429,
                f"{MAX_CALLS_UNDER_WAY} model calls of this agent are under way, which is the "
                "most: wait until one of them has ended",
                type=AgentErrorType.RATE_LIMIT,
                retry_after_seconds=_RETRY_AFTER_SECONDS,
            )
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1


_MESSAGES_MODELS = MESSAGES_PATH.replace("messages", "models")


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
