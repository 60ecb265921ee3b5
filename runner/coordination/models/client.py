"""Model calls over the run socket, streamed. Runs on: the run container.

The host holds the credential, retries what fails before the first byte and ends stalled streams;
here a call has no time limit of its own. What breaks half-way is asked again a few times.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from typing import Final, NoReturn, Self

import aiohttp
from pydantic import ValidationError

from runner.contract.run_socket import (
    MAX_RESPONSE_BYTES,
    USAGE_PATH,
    ContainerAction,
    ContainerReply,
    ContainerRequest,
    GatewayErrorBody,
    container_path,
    model_path,
)
from runner.contract.spec import AgentSpec
from runner.contract.status import AgentErrorType
from runner.contract.text import one_line
from runner.contract.usage import RunUsage
from runner.coordination.models import chat, messages
from runner.coordination.models.sse import SseDecoder
from runner.coordination.models.stream import (
    Assembler,
    JsonObject,
    Listener,
    ModelFailure,
    Reply,
    Request,
    broken_stream,
)

MAX_ATTEMPTS = 3
"""Calls for one reply whose streams break."""
MAX_ERROR_BYTES = 64 * 1024
SOCKET_GRACE_SECONDS = 5.0
"""For how long nobody may answer the run socket before the supervisor counts as gone."""
_LAST_BYTES_SECONDS = 1.0
_BASE_URL: Final = "http://run.sock"
_DONE = b"[DONE]"
_log = logging.getLogger(__name__)

# The types of errors inside a stream, by the words that providers use for them.
_STREAM_ERRORS: dict[str, AgentErrorType] = {
    "authentication_error": AgentErrorType.AUTHENTICATION,
    "permission_error": AgentErrorType.AUTHENTICATION,
    "rate_limit_error": AgentErrorType.RATE_LIMIT,
    "rate_limit_exceeded": AgentErrorType.RATE_LIMIT,
}
_STATUS_ERRORS: dict[int, AgentErrorType] = {
    401: AgentErrorType.AUTHENTICATION,
    403: AgentErrorType.AUTHENTICATION,
    429: AgentErrorType.RATE_LIMIT,
}
_FINAL_ERRORS = frozenset({AgentErrorType.AUTHENTICATION, AgentErrorType.BUDGET})


class SupervisorGoneError(Exception):
    """Nobody serves the run socket any more."""


class ModelClient:
    """Calls models through one run socket; an async context manager that owns its connections."""

    def __init__(
        self, socket_path: str, *, socket_grace_seconds: float = SOCKET_GRACE_SECONDS
    ) -> None:
        self._socket_path = socket_path
        self._grace_seconds = socket_grace_seconds

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(self._socket_path, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=256 * 1024,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, agent: AgentSpec, request: Request, listen: Listener) -> Reply:
        """Return the model's reply, `listen` having heard each piece of it.

        Raises ModelFailure when there is none for good, SupervisorGoneError without a host.
        """
        for attempt in range(1, MAX_ATTEMPTS):
            try:
                return await self._ask_once(agent, request, listen)
            except ModelFailure as failure:
                if not failure.is_transient:
                    raise
                _log.info("call %d of %s failed: %s", attempt, agent.id, failure.message)
            await asyncio.sleep(0.1 * 3 ** (attempt - 1))
        return await self._ask_once(agent, request, listen)

    async def _ask_once(self, agent: AgentSpec, request: Request, listen: Listener) -> Reply:
        dialect = messages if agent.dialect == "messages" else chat
        assembler = (
            messages.MessagesAssembler() if agent.dialect == "messages" else chat.ChatAssembler()
        )
        body = json.dumps(dialect.request_body(agent, request)).encode()
        try:
            response = await self._post(model_path(agent.id, agent.dialect), body, dialect.HEADERS)
            async with response:
                await _require_stream(response)
                return await _read_stream(response, assembler, listen)
        except (aiohttp.ClientError, OSError) as error:
            why = f"the connection broke in the middle of a reply: {one_line(str(error), 200)}"
            raise broken_stream(why) from error

    async def _post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """Send a request; while nobody listens on the socket, try again for the grace time."""
        deadline = asyncio.get_running_loop().time() + self._grace_seconds
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            **headers,
        }
        while True:
            try:
                return await self._session.post(
                    _BASE_URL + path, data=BytesIO(body), headers=headers
                )
            except (aiohttp.ClientConnectorError, FileNotFoundError) as error:
                if asyncio.get_running_loop().time() >= deadline:
                    said = one_line(str(error), 200)
                    why = f"the supervisor is gone: nobody answers the run socket ({said})"
                    raise SupervisorGoneError(why) from error
            await asyncio.sleep(0.2)

    async def ask_container(self, agent_id: str, action: ContainerAction) -> str | None:
        """Ask the host for something about an agent's container; return why one before it died.

        Raises ModelFailure with the host's words, SupervisorGoneError without a host.
        """
        body = ContainerRequest(action=action).model_dump_json().encode()
        try:
            response = await self._post(container_path(agent_id), body, {})
            async with response:
                if response.status != 200:
                    await _raise_refusal(response)
                content = await _read_at_most(response, MAX_ERROR_BYTES)
                return ContainerReply.model_validate_json(content).death
        except (aiohttp.ClientError, OSError, ValidationError) as error:
            said = f"the host did not answer about the container: {one_line(str(error), 200)}"
            raise ModelFailure(AgentErrorType.TOOL, said) from error

    async def usage(self) -> RunUsage | None:
        """Return what the host has counted so far, or None if it does not say."""
        try:
            async with self._session.get(_BASE_URL + USAGE_PATH) as response:
                content = await _read_at_most(response, MAX_RESPONSE_BYTES)
                return RunUsage.model_validate_json(content) if response.status == 200 else None
        except (aiohttp.ClientError, OSError, ValidationError) as error:
            _log.info("no usage from the host: %s", one_line(str(error), 200))
            return None


async def _require_stream(response: aiohttp.ClientResponse) -> None:
    if response.status != 200:
        await _raise_refusal(response)
    if response.content_type != "text/event-stream":
        message = f"the provider answered with {response.content_type}, not with an event stream"
        raise ModelFailure(AgentErrorType.PROVIDER, one_line(message, 300))


async def _raise_refusal(response: aiohttp.ClientResponse) -> NoReturn:
    content = await _read_at_most(response, MAX_ERROR_BYTES)
    try:
        error = GatewayErrorBody.model_validate_json(content).error
    except ValidationError:
        raise _foreign_refusal(response.status, content) from None
    raise ModelFailure(error.type, one_line(error.message, 1000), status=error.status)


def _foreign_refusal(status: int, content: bytes) -> ModelFailure:
    """Return the failure for a refusal that is not in the gateway's words."""
    message = f"HTTP {status}: {content.decode('utf-8', 'replace')}"
    type_ = _STATUS_ERRORS.get(status, AgentErrorType.PROVIDER)
    return ModelFailure(type_, one_line(message, 300), status=status)


async def _read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) >= limit:
            break
    return bytes(content[:limit])


async def _read_stream(
    response: aiohttp.ClientResponse, assembler: Assembler, listen: Listener
) -> Reply:
    decoder = SseDecoder()
    received = 0
    async for chunk in response.content.iter_any():
        received += len(chunk)
        if received > MAX_RESPONSE_BYTES:
            message = f"the reply was cut: it is longer than {MAX_RESPONSE_BYTES} bytes"
            raise ModelFailure(AgentErrorType.PROVIDER, message)
        if _take(decoder.feed(chunk), assembler, listen):
            await _read_to_end(response)
            return assembler.finish()
    _take(decoder.close(), assembler, listen)
    return assembler.finish()


async def _read_to_end(response: aiohttp.ClientResponse) -> None:
    """Let the host finish a stream that has said it is over, so that it counts as complete."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_BYTES_SECONDS):
            while await response.content.readany():
                pass


def _take(events: list[bytes], assembler: Assembler, listen: Listener) -> bool:
    """Pass events on; True after the one that says the stream is over."""
    for data in events:
        if data == _DONE:
            return True
        delta = assembler.feed(parse_event(data))
        if delta is not None:
            listen(delta)
    return assembler.is_over


def parse_event(data: bytes) -> JsonObject:
    """Return an event's JSON object; ModelFailure for garbage and for an error event."""
    try:
        # Bytes that are no UTF-8 cost a character, not the reply.
        event = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        shown = one_line(data[:200].decode("utf-8", "replace"), 80)
        raise broken_stream(f"the provider's stream is not JSON: {shown}") from error
    if not isinstance(event, dict):
        raise broken_stream("the provider's stream holds JSON that is no object")
    if event.get("error"):
        raise _stream_error(event["error"])
    return event


def _stream_error(error: object) -> ModelFailure:
    fields = error if isinstance(error, dict) else {"message": error}
    word = str(fields.get("type") or fields.get("code") or "")
    known = {member.value: member for member in AgentErrorType}
    type_ = known.get(word) or _STREAM_ERRORS.get(word, AgentErrorType.PROVIDER)
    message = one_line(str(fields.get("message") or word or "no message"), 1000)
    said = f"the provider reported an error in the middle of a reply: {message}"
    return ModelFailure(type_, said, is_transient=type_ not in _FINAL_ERRORS)
