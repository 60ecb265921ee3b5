"""The provider's HTTP server: two protocols, answered by a script. Runs on: host."""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from typing import Any, assert_never

from aiohttp import web

from tests.support.provider import chat, messages
from tests.support.provider.log import LoggedRequest, RequestLog
from tests.support.provider.replies import (
    BrokenArguments,
    CloseAfter,
    Cooperate,
    Endless,
    Garbage,
    Hold,
    Html,
    NewAnswer,
    Raw,
    RefuseConnection,
    Reply,
    Silence,
    Status,
    StreamError,
    Text,
    ToolCalls,
    Turnlike,
    Vote,
)
from tests.support.provider.request import Dialect, ModelRequest
from tests.support.provider.script import Prompter, Script
from tests.support.provider.turns import Turn, encode, say

MAX_REQUEST_BYTES = 64 * 1024 * 1024
PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in</body></html>"
OLD_VERSION = "2023-06-01"
_NEVER = 365 * 24 * 3600


AnswerContainer = Callable[[str, str], str | None]
"""Takes an agent's id and what is asked about its container; returns why one before it ended."""


class ProviderApp:
    """State of one provider: its script, its log, what it expects. Lives on one event loop."""

    def __init__(self, script: Script, log: RequestLog, expect_key: str | None = None) -> None:
        self.prompter = Prompter(script)
        self.log = log
        self.expect_key = expect_key
        self.containers: AnswerContainer | None = None
        self._gates: dict[str, asyncio.Event] = {}

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_post("/{prefix:.*}chat/completions", self._chat)
        app.router.add_post("/{prefix:.*}v1/messages", self._messages)
        app.router.add_get("/{prefix:.*}models", self._models)
        app.router.add_post("/agents/{agent_id}/container", self._container)
        return app

    def play(self, script: Script) -> None:
        """Start over with another script."""
        self.prompter = Prompter(script)

    def release(self, name: str) -> None:
        """Let the requests that a `Hold` of that name keeps, and later ones, go on."""
        self._gate(name).set()

    def _gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    async def _container(self, http: web.Request) -> web.Response:
        if self.containers is None:
            raise web.HTTPNotFound
        asked = await http.json()
        death = self.containers(http.match_info["agent_id"], str(asked["action"]))
        return web.json_response({"death": death})

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        return await self._serve(http, "chat")

    async def _messages(self, http: web.Request) -> web.StreamResponse:
        return await self._serve(http, "messages")

    async def _models(self, http: web.Request) -> web.StreamResponse:
        dialect: Dialect = "messages" if "anthropic-version" in http.headers else "chat"
        if not self._may(http, dialect):
            return self._error(dialect, 401, "Incorrect API key provided.")
        models = self.prompter.script.models
        listed = chat.chat_models if dialect == "chat" else messages.messages_models
        return web.json_response(listed(models), headers=self.prompter.script.headers)

    async def _serve(self, http: web.Request, dialect: Dialect) -> web.StreamResponse:
        raw = await http.read()
        request = ModelRequest(dialect, http.path, _parsed(raw))
        entry = self.log.add(
            request,
            method=http.method,
            connection=_connection(http),
            headers=tuple(http.headers.items()),
            body=raw,
        )
        exchange = Exchange(self, http, request)
        status, disconnected = 0, True
        try:
            response = await self._refusal(exchange, entry) or await exchange.give_next()
            status, disconnected = response.status, False
        except ConnectionError:
            response = web.Response()  # nobody is there to read it
        finally:
            self.log.end(entry.number, status=status, disconnected=disconnected)
        return response

    async def _refusal(self, exchange: "Exchange", entry: LoggedRequest) -> web.Response | None:
        """Return the answer to a request that no model gets to see, if it is one."""
        request, dialect = exchange.request, exchange.request.dialect
        if not self._may(exchange.http, dialect):
            return self._error(dialect, 401, "Incorrect API key provided.")
        if dialect == "messages" and entry.header("anthropic-version") is None:
            return self._error(dialect, 400, "anthropic-version: header is required")
        refusal = chat.chat_refusal if dialect == "chat" else messages.messages_refusal
        if problem := refusal(request.body):
            return self._error(dialect, 400, problem)
        script = self.prompter.script
        if script.known_models_only and request.model not in script.models:
            return self._error(dialect, 404, f"The model `{request.model}` does not exist.")
        return None

    def _may(self, http: web.Request, dialect: Dialect) -> bool:
        if self.expect_key is None:
            return True
        bearer = http.headers.get("Authorization") == f"Bearer {self.expect_key}"
        if dialect == "messages":
            # Anthropic's client of late 2026 sends a newer version and the key as a bearer.
            old = http.headers.get("anthropic-version", OLD_VERSION) == OLD_VERSION
            return http.headers.get("x-api-key") == self.expect_key or (bearer and not old)
        return bearer or http.headers.get("api-key") == self.expect_key

    def _error(self, dialect: Dialect, status: int, message: str) -> web.Response:
        body = chat.chat_error if dialect == "chat" else messages.messages_error
        headers = self.prompter.script.headers
        return web.json_response(body(status, message), status=status, headers=headers)


class Exchange:
    """One request and the ways to answer it."""

    def __init__(self, app: ProviderApp, http: web.Request, request: ModelRequest) -> None:
        self._app = app
        self.http = http
        self.request = request
        self._reply_id = secrets.token_hex(8)

    async def give_next(self) -> web.StreamResponse:
        reply, rule = self._app.prompter.next(self.request)
        while isinstance(reply, Hold):
            await self._app._gate(reply.name).wait()
            reply = reply.then
        return await self._give(reply, rule)

    async def _give(self, reply: Reply, rule: int | None) -> web.StreamResponse:
        match reply:
            case Text() | NewAnswer() | Vote() | ToolCalls() | BrokenArguments() | Cooperate():
                return await self._turn(reply, rule)
            case Status():
                return self._status(reply)
            case StreamError() | Silence() | CloseAfter() | Endless():
                return await self._unfinished(reply)
            case Garbage():
                content_type = reply.content_type or self._content_type
                headers = {"Content-Type": content_type, **reply.headers}
                return web.Response(body=reply.data, headers=headers)
            case Html():
                return web.Response(text=PAGE, content_type="text/html")
            case RefuseConnection() | Raw():
                return self._cut(reply.data if isinstance(reply, Raw) else None)
            case Hold():
                raise AssertionError("a Hold was waited for before")
            case _:
                assert_never(reply)

    @property
    def _content_type(self) -> str:
        return "text/event-stream" if self.request.stream else "application/json"

    async def _turn(self, reply: Turnlike, rule: int | None) -> web.StreamResponse:
        turn, delivered = say(reply, self.request)
        if not delivered:
            self._app.prompter.not_delivered(reply, self.request, rule)
        if self.request.stream:
            return await self._stream(turn)
        body = chat.chat_body if self.request.dialect == "chat" else messages.messages_body
        data = body(turn, self.request, self._reply_id)
        headers = self._app.prompter.script.headers
        return web.Response(body=data, content_type="application/json", headers=headers)

    def _events(self, turn: Turn) -> Iterator[bytes]:
        events = chat.chat_events if self.request.dialect == "chat" else messages.messages_events
        return events(turn, self.request, self._reply_id)

    async def _stream(self, turn: Turn) -> web.StreamResponse:
        response = await self._begin()
        await _write(response, self._events(turn), turn.delay_seconds_per_chunk)
        await response.write_eof()
        return response

    async def _begin(self) -> web.StreamResponse:
        headers = {"Content-Type": self._content_type, "Cache-Control": "no-cache"}
        response = web.StreamResponse(headers=headers | self._app.prompter.script.headers)
        await response.prepare(self.http)
        return response

    def _status(self, reply: Status) -> web.Response:
        message = f"Scripted error {reply.status}."
        error = chat.chat_error if self.request.dialect == "chat" else messages.messages_error
        body = error(reply.status, message) if reply.body is None else reply.body
        headers = {"Content-Type": "application/json", **reply.headers}
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        return web.Response(body=data, status=reply.status, headers=headers)

    async def _unfinished(
        self, reply: StreamError | Silence | CloseAfter | Endless
    ) -> web.StreamResponse:
        if isinstance(reply, Silence) and reply.after_chunks is None:
            await asyncio.sleep(_NEVER)  # cancelled when the client goes
        response = await self._begin()
        await _write(response, self._beginning(reply))
        if isinstance(reply, Silence):
            await asyncio.sleep(_NEVER)
        if isinstance(reply, CloseAfter):
            await response.drain()
            self._transport().close()
            return response
        await response.write_eof()
        return response

    def _beginning(self, reply: StreamError | Silence | CloseAfter | Endless) -> Iterator[bytes]:
        if isinstance(reply, Endless):
            yield from self._endless(reply)
            return
        text = reply.text if isinstance(reply, CloseAfter) else "This will not end well."
        turn = Turn(text, characters_per_chunk=4)
        count = reply.chunks if isinstance(reply, CloseAfter) else reply.after_chunks
        yield from islice(self._events(turn), count)
        if isinstance(reply, StreamError):
            error = chat.chat_stream_error
            if self.request.dialect == "messages":
                error = messages.messages_stream_error
            yield error(reply.message)

    def _endless(self, reply: Endless) -> Iterator[bytes]:
        if not reply.lines:
            yield b"data: "
            yield from repeat(encode(reply.chunk))
        events = list(self._events(Turn(reply.chunk)))
        said = next(i for i, event in enumerate(events) if encode(reply.chunk) in event)
        yield from events[: said + 1]
        yield from repeat(events[said])

    def _cut(self, data: bytes | None) -> web.Response:
        transport = self._transport()
        if data is None:
            transport.abort()
        else:
            transport.write(data)
            transport.close()
        return web.Response()

    def _transport(self) -> asyncio.Transport:
        transport = self.http.transport
        if transport is None:
            raise ConnectionResetError
        return transport


async def _write(
    response: web.StreamResponse, events: Iterator[bytes], delay_seconds: float = 0.0
) -> None:
    """Write each event by itself; now and then let other requests have their turn."""
    for number, event in enumerate(events):
        await response.write(event)
        if delay_seconds or number % 64 == 63:
            await asyncio.sleep(delay_seconds)


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _connection(http: web.Request) -> str:
    peer = http.transport.get_extra_info("peername") if http.transport else None
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else f"unix-{id(http.transport):x}"
