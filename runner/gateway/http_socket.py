"""Serve HTTP on a Unix socket to a container, which may send anything. Runs on: host."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import hdrs, web

from runner.contract.run_socket import MAX_REQUEST_BYTES
from runner.gateway.connections import Connections
from runner.gateway.refusal import Refusal
from runner.gateway.unix_socket import bound

logger = logging.getLogger(__name__)

_CLOSE_SECONDS = 0.05
"""For calls that are under way when the run is over: nobody waits for them any more."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(redact: Callable[[str], str], not_a_path: str) -> web.Application:
    """Return an application without paths; what is none of them is refused with `not_a_path`."""

    @web.middleware
    async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refusal as error:
            refusal = error
        except web.RequestPayloadError:
            refusal = Refusal(400, "the body is not what its headers say")
        except web.HTTPException as error:
            refusal = Refusal(error.status, f"{error.reason}: {not_a_path}")
        except ConnectionError:
            raise  # the container hung up
        except Exception as error:  # the edge: the container gets an answer, the host a log
            name = type(error).__name__
            # No traceback: it would show the message once more, unmasked.
            logger.error("a call failed in the gateway: %s", redact(f"{name}: {error}"))  # noqa: TRY400
            refusal = Refusal(500, f"the gateway failed ({name}): see the host's log")
        return web.Response(
            status=refusal.status,
            text=refusal.body(),
            content_type="application/json",
            headers=refusal.headers(),
        )

    return web.Application(middlewares=[answer_errors], client_max_size=MAX_REQUEST_BYTES)


@asynccontextmanager
async def serving(
    app: web.Application,
    connections: Connections,
    *,
    directory: Path,
    name: str,
    owner: int | None,
) -> AsyncIterator[None]:
    """Serve `app` on the socket `name` in `directory` while in the block."""
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_silent_logger(),
        handler_cancellation=True,  # a container that hangs up must not cost money
        shutdown_timeout=_CLOSE_SECONDS,
        auto_decompress=False,
    )
    with bound(directory, name, owner) as listener:
        try:
            await runner.setup()
            accepting = await connections.accept(listener, runner)
            try:
                yield
            finally:
                accepting.close()
        finally:
            await runner.cleanup()


class Bodies:
    """The request bodies of one socket; together they take `max_pending_bytes` at most."""

    def __init__(self, max_pending_bytes: int) -> None:
        self._max_pending_bytes = max_pending_bytes
        self._pending_bytes = 0

    @asynccontextmanager
    async def read(self, request: web.Request) -> AsyncIterator[bytes]:
        """Yield the request's body; what it takes is counted until the block is left."""
        check_framing(request)
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
                if self._pending_bytes > self._max_pending_bytes:
                    raise Refusal(503, "too many large requests at once")
            yield b"".join(parts)
        finally:
            self._pending_bytes -= size


def check_framing(request: web.Request, *, encoded: bool = False) -> None:
    """Raise Refusal for a request that could be read in two ways.

    A body in an encoding is taken with `encoded`, where nobody here reads it.
    """
    if request.version < (1, 1):
        raise Refusal(505, "HTTP/1.1 is needed")
    if encoded:
        return
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    if encoding != "identity":
        raise Refusal(415, "a compressed body is not taken")


def cut(request: web.Request) -> None:
    """End the connection without the last chunk, so that the container sees a broken stream.

    What was passed on before still arrives.
    """
    if request.transport is not None:
        request.transport.close()


def _too_large() -> Refusal:
    return Refusal(413, f"the request is larger than {MAX_REQUEST_BYTES} bytes")


def _silent_logger() -> logging.Logger:
    """Return a logger for what HTTP garbage a container sends: it would only fill the terminal."""
    silent = logging.getLogger("runner.gateway.http")
    silent.setLevel(logging.CRITICAL + 1)
    return silent
