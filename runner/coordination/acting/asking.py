"""Ask a model what fits its window, and anew where it objects. Runs on: the run container."""

import re

from runner.contract.spec import AgentSpec
from runner.contract.status import AgentErrorType
from runner.coordination.acting import context
from runner.coordination.models.client import ModelClient
from runner.coordination.models.stream import Listener, ModelFailure, Reply, Request

_TOO_LONG = re.compile(
    r"context_length|context length|context window|context size|context limit|prompt is too long"
    r"|input is too long|maximum.{0,20}tokens|too many.{0,10}tokens|exceed.{0,40}tokens",
    re.IGNORECASE,
)
"""How OpenAI, Anthropic, Gemini, vLLM, llama.cpp and others say it."""
_REFUSED = frozenset({400, 404, 415, 422})
"""With these, providers refuse pictures for a model that sees none."""
_MAY_BE_TOO_LONG = frozenset({400, 413, 422, 500})


class Asker:
    """Asks one agent's model during one turn."""

    def __init__(self, client: ModelClient, agent: AgentSpec, listen: Listener) -> None:
        self._client = client
        self._agent = agent
        self._listen = listen
        self._sees = True
        self.window_chars = context.window_chars(agent)

    async def ask(self, request: Request) -> Reply:
        """Return the reply. Raises ModelFailure, SupervisorGoneError."""
        if not self._sees:
            request = context.without_images(request)
        try:
            return await self._send(context.fitted(request, self.window_chars))
        except ModelFailure as failure:
            again = self._another(request, failure)
            if again is None:
                raise
        return await self._send(again)

    def _another(self, request: Request, failure: ModelFailure) -> Request | None:
        """Return what else to ask after a refusal; None: it was about something else."""
        if is_too_long(failure):
            self.window_chars = min(self.window_chars, context.request_size(request)) // 2
            return context.fitted_harder(request, self.window_chars)
        if failure.status in _REFUSED and context.has_images(request):
            self._sees = False
            return context.fitted(context.without_images(request), self.window_chars)
        return None

    async def _send(self, request: Request) -> Reply:
        return await self._client.ask(self._agent, request, self._listen)


def is_too_long(failure: ModelFailure) -> bool:
    """Tell whether a model refused a request because it does not fit its window."""
    return (
        failure.type is AgentErrorType.PROVIDER
        and failure.status in _MAY_BE_TOO_LONG
        and _TOO_LONG.search(failure.message) is not None
    )
