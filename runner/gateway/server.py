"""The gateway: a run's socket on which its container reaches its models. Runs on: host.

Having the socket mounted is the identity: whoever connects may call the models that the run's
configuration names, each as its agent, and nothing else.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Self

from aiohttp import hdrs, web
from pydantic import ValidationError

from runner.contract.files import open_directory
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
from runner.gateway.books import NO_BUDGET, Books, Budget
from runner.gateway.connections import Connections
from runner.gateway.ledger import CallEnd, Ledger
from runner.gateway.meter import Meter
from runner.gateway.model_request import ModelRequest, check_request
from runner.gateway.pricing import Price
from runner.gateway.rate_limits import RateLimiter
from runner.gateway.redaction import Redactor
from runner.gateway.refusal import Refusal
from runner.gateway.routes import Route
from runner.gateway.upstream import (
    BrokenStreamError,
    CallProgress,
    ModelCalls,
    RetryPolicy,
    Upstream,
)

logger = logging.getLogger(__name__)

_MAX_PENDING_BYTES = 8 * MAX_REQUEST_BYTES
"""Of all request bodies together: what a container can make the host keep in memory."""
AnswerContainer = Callable[[str, ContainerRequest], Awaitable[ContainerReply]]
"""Does what coordination asks for about an agent's container. Raises Refusal."""
DEFAULT_RETRY = RetryPolicy()
NO_PRICES: Mapping[str, Price] = MappingProxyType({})
_CLOSE_SECONDS = 0.05
"""For calls that are under way when the run is over: nobody waits for them any more."""


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
        self._pending_bytes = 0
        self._connections = Connections()
        self._stack = AsyncExitStack()
        self.requests_seen = asyncio.Event()
        """Set at the first model request that is passed on."""

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
    async def _serving(self) -> AsyncIterator[None]:
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=_silent_logger(),
            handler_cancellation=True,  # a container that hangs up must not cost money
            shutdown_timeout=_CLOSE_SECONDS,
            auto_decompress=False,
        )
        with (
            open_directory(self._socket_dir) as directory,
            _bound(directory, self._socket_owner) as listener,
        ):
            try:
                await runner.setup()
                accepting = await self._connections.accept(listener, runner)
                try:
                    yield
                finally:
                    accepting.close()
            finally:
                await runner.cleanup()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._answer_errors], client_max_size=MAX_REQUEST_BYTES)
        app.router.add_get(USAGE_PATH, self._answer_usage, allow_head=False)
        app.router.add_post("/agents/{agent_id}/" + MODEL_PATHS["chat"], self._answer_chat)
        app.router.add_post("/agents/{agent_id}/" + MODEL_PATHS["messages"], self._answer_messages)
        app.router.add_post(container_path("{agent_id}"), self._answer_container)
        return app

    @web.middleware
    async def _answer_errors(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refusal as error:
            refusal = error
        except web.RequestPayloadError:
            refusal = Refusal(400, "the body is not what its headers say")
        except web.HTTPException as error:
            refusal = Refusal(error.status, f"{error.reason}: not a path of the run socket")
        except ConnectionError:
            raise  # the container hung up
        except Exception as error:  # the edge: the container gets an answer, the host a log
            name = type(error).__name__
            # No traceback: it would show the message once more, unmasked.
            logger.error("a call failed in the gateway: %s", self._redact(f"{name}: {error}"))  # noqa: TRY400
            refusal = Refusal(500, f"the gateway failed ({name}): see the host's log")
        return web.Response(
            status=refusal.status, text=refusal.body(), content_type="application/json"
        )

    async def _answer_usage(self, _: web.Request) -> web.Response:
        return web.Response(text=self.usage().model_dump_json(), content_type="application/json")

    async def _answer_container(self, request: web.Request) -> web.Response:
        if self._containers is None:
            raise Refusal(404, "no agent of this run has a container")
        async with self._body(request) as body:
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
        _check_framing(request)
        async with self._body(request) as body:
            asked = check_request(body, route.model)
            self.requests_seen.set()
            with self._connections.kept(request):
                return await self._pass_on(request, route, asked)

    def _route(self, agent_id: str, dialect: Dialect) -> Route:
        route = self._routes.get(agent_id)
        if route is None:
            raise Refusal(404, "this run has no such agent")
        if route.dialect != dialect:
            raise Refusal(404, f"{agent_id} calls {MODEL_PATHS[route.dialect]}, not this path")
        return route

    @asynccontextmanager
    async def _body(self, request: web.Request) -> AsyncIterator[bytes]:
        """Yield the request's body; what it takes is counted until the block is left."""
        parts: list[bytes] = []
        size = 0
        try:
            if (request.content_length or 0) > MAX_REQUEST_BYTES:
                raise _too_large()
            async for part in request.content.iter_any():
                parts.append(part)
                size += len(part)
                self._pending_bytes += len(part)
                if size > MAX_REQUEST_BYTES:
                    raise _too_large()
                if self._pending_bytes > _MAX_PENDING_BYTES:
                    raise Refusal(503, "too many large requests at once")
            yield b"".join(parts)
        finally:
            self._pending_bytes -= size

    async def _pass_on(
        self, request: web.Request, route: Route, asked: ModelRequest
    ) -> web.StreamResponse:
        call = await self._books.open(route, asked)
        asked = call.request
        meter = Meter(route.dialect, stream=asked.stream, request_bytes=len(asked.body))
        progress = CallProgress()
        end: CallEnd = "cancelled"
        response = web.StreamResponse()
        response.content_type = "text/event-stream" if asked.stream else "application/json"
        response.enable_chunked_encoding()
        try:
            async with self._upstream.call(
                route, asked.body, stream=asked.stream, progress=progress
            ) as chunks:
                await response.prepare(request)
                async for chunk in chunks:
                    meter.feed(chunk)
                    if meter.is_complete:
                        await call.note("complete", progress, meter)
                    await response.write(chunk)
                tokens = meter.tokens()
                progress.tokens = tokens.input + tokens.output
            await call.note("complete", progress, meter)
            await response.write_eof()
            end = "complete"
        except Refusal:
            end = "refused"
            raise
        except BrokenStreamError as error:
            end = "broken"
            logger.warning("%s: %s: %s", route.agent_id, route.provider.name, error)
            _cut(request)
        finally:
            call.settle(_true_end(end, meter), progress, meter)
        return response


def _container_request(body: bytes) -> ContainerRequest:
    try:
        return ContainerRequest.model_validate_json(body)
    except ValidationError as error:
        raise Refusal(400, "the body is no request about a container") from error


def _true_end(end: CallEnd, meter: Meter) -> CallEnd:
    """A container need not wait for what comes after the last event."""
    return "complete" if end == "cancelled" and meter.is_complete else end


def _check_framing(request: web.Request) -> None:
    if request.version < (1, 1):
        raise Refusal(505, "HTTP/1.1 is needed")
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    if encoding != "identity":
        raise Refusal(415, "a compressed body is not taken")


def _too_large() -> Refusal:
    return Refusal(413, f"the request is larger than {MAX_REQUEST_BYTES} bytes")


def _cut(request: web.Request) -> None:
    """End the connection without the last chunk, so that the container sees a broken stream.

    What was passed on before still arrives.
    """
    if request.transport is not None:
        request.transport.close()


@contextmanager
def _bound(directory: int, owner: int | None) -> Iterator[socket.socket]:
    """Yield the run socket, bound in an open directory and reachable for its owner alone."""
    _unlink(directory)  # of a gateway that was killed
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        os.fchmod(listener.fileno(), 0o600)  # Linux gives the file the socket's mode
        # An address holds 107 bytes; the directory's path may be longer.
        listener.bind(f"/proc/self/fd/{directory}/{SOCKET_NAME}")
        try:
            if owner is not None:
                os.chown(SOCKET_NAME, owner, -1, dir_fd=directory, follow_symlinks=False)
            listener.setblocking(False)
            yield listener
        finally:
            _unlink(directory)


def _unlink(directory: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(SOCKET_NAME, dir_fd=directory)


def _silent_logger() -> logging.Logger:
    """Return a logger for what HTTP garbage a container sends: it would only fill the terminal."""
    silent = logging.getLogger("runner.gateway.http")
    silent.setLevel(logging.CRITICAL + 1)
    return silent
