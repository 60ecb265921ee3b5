"""Calls to providers, asked again while nothing of the answer was passed on. Runs on: host."""

import asyncio
import datetime as dt
import io
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple, Protocol, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import tenacity

from runner.contract.run_socket import MAX_RESPONSE_BYTES
from runner.contract.status import AgentErrorType
from runner.contract.text import one_line
from runner.gateway import answers
from runner.gateway.rate_limits import Place, RateLimiter
from runner.gateway.refusal import Refusal
from runner.gateway.routes import Route

_MAX_ERROR_BYTES = 64 * 1024
_ERROR_BODY_SECONDS = 10
_STREAM_TYPE = "text/event-stream"
_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "apim-request-id")


class RetryPolicy(NamedTuple):
    """How often and how long one call is tried."""

    attempts: int = 5
    max_wait_seconds: float = 30.0
    """No single wait is longer, whatever the provider asks for."""
    first_wait_seconds: float = 0.5
    """Doubled with each attempt, and varied at random."""


class BrokenStreamError(Exception):
    """The answer stopped half-way; the message says why."""


class CallProgress:
    """What is known of a call, also when it is cut: for the ledger."""

    def __init__(self) -> None:
        self.attempts = 0
        self.status: int | None = None
        self.request_id: str | None = None
        self.may_cost = False
        """The provider has, or may have, been at work on the last attempt."""
        self.tokens: int | None = None
        """What the call has taken, once that is known."""
        self.cached_response = False
        """No provider was asked: the answer came from the disk."""


class ModelCalls(Protocol):
    """What the gateway passes calls on to: `Upstream`, or what records or replays its answers."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    def call(
        self, route: Route, body: bytes, *, stream: bool, progress: CallProgress
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Send `body` and yield the chunks of the answer; raises as `Upstream.call` does."""


class _TransientError(Exception):
    def __init__(self, refusal: Refusal, wait_seconds: float | None = None) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.wait_seconds = wait_seconds


class Upstream:
    """The connections of one run to its providers; `async with` closes them."""

    def __init__(
        self,
        *,
        retry: RetryPolicy,
        stall_timeout_seconds: float,
        redact: Callable[[str], str],
        limiter: RateLimiter | None = None,
    ) -> None:
        self._retry = retry
        self._limiter = limiter or RateLimiter()
        self._stall_timeout_seconds = stall_timeout_seconds
        self._redact = redact
        self._sessions: dict[str | None, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()

    @asynccontextmanager
    async def call(
        self, route: Route, body: bytes, *, stream: bool, progress: CallProgress
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send `body` and yield the chunks of the answer, of which there is at least one.

        Leaving the block ends the call, complete or not. Raises Refusal when the provider did
        not accept it; the chunks raise BrokenStreamError when it does not finish.
        """
        async with AsyncExitStack() as held:
            response, first, place = await self._open(
                route, body, stream=stream, progress=progress, held=held
            )
            chunks = self._chunks(response, first)
            try:
                yield chunks
            finally:
                response.close()
                await chunks.aclose()
                if progress.tokens is not None:
                    await place.settle(progress.tokens)

    async def _open(
        self,
        route: Route,
        body: bytes,
        *,
        stream: bool,
        progress: CallProgress,
        held: AsyncExitStack,
    ) -> tuple[aiohttp.ClientResponse, bytes, Place]:
        """Return an answer that can be passed on; `held` keeps the call's place until its end."""
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self._retry.attempts),
            wait=self._wait_seconds,
            retry=tenacity.retry_if_exception_type(_TransientError),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    progress.attempts = attempt.retry_state.attempt_number
                    async with AsyncExitStack() as stack:
                        place = await stack.enter_async_context(self._limiter.place(route, body))
                        opened = await self._placed(
                            place, self._attempt(route, body, stream=stream, progress=progress)
                        )
                        held.push_async_exit(stack.pop_all())
                        return *opened, place
        except _TransientError as error:
            raise error.refusal from error.__cause__
        raise AssertionError("unreachable: tenacity raises the last error")

    async def _placed(
        self, place: Place, attempt: Awaitable[tuple[aiohttp.ClientResponse, bytes]]
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """Tell everybody on the key what the provider made of the attempt."""
        try:
            opened = await attempt
        except _TransientError as error:
            if error.refusal.error.status == HTTPStatus.TOO_MANY_REQUESTS:
                asked = error.wait_seconds
                wait = self._retry.first_wait_seconds if asked is None else asked
                await place.refused(min(wait, self._retry.max_wait_seconds))
            raise
        try:
            await place.accepted()
        except BaseException:
            opened[0].close()
            raise
        return opened

    def _wait_seconds(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait_seconds if isinstance(error, _TransientError) else None
        if asked is not None:
            return min(asked, self._retry.max_wait_seconds)
        backoff = tenacity.wait_exponential_jitter(
            multiplier=self._retry.first_wait_seconds,
            max=self._retry.max_wait_seconds,
            jitter=self._retry.first_wait_seconds,
        )
        return backoff(state)

    async def _attempt(
        self, route: Route, body: bytes, *, stream: bool, progress: CallProgress
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        progress.may_cost = True
        try:
            response = await self._post(route, body, stream=stream)
            try:
                return response, await self._accept(
                    route, response, stream=stream, progress=progress
                )
            except BaseException:
                response.close()
                raise
        except (_TransientError, Refusal):
            progress.may_cost = False
            raise
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            progress.may_cost = isinstance(error, aiohttp.SocketTimeoutError)
            raise self._failed(route, error, progress.attempts) from error

    async def _accept(
        self,
        route: Route,
        response: aiohttp.ClientResponse,
        *,
        stream: bool,
        progress: CallProgress,
    ) -> bytes:
        """Return the first bytes of an answer that can be passed on; raises what it is instead."""
        progress.status = response.status
        progress.request_id = _request_id(response)
        if not 200 <= response.status < 300:
            raise await self._refused(route, response, progress.attempts)
        self._check_type(route, response, stream=stream)
        first = await _first_chunk(response)
        if not first:
            raise _TransientError(self._unusable(route, "answered nothing", progress.attempts))
        return first

    async def _post(self, route: Route, body: bytes, *, stream: bool) -> aiohttp.ClientResponse:
        headers = route.headers() | {
            "Content-Type": "application/json",
            "Accept": _STREAM_TYPE if stream else "application/json",
            "Accept-Encoding": "identity",  # the answer is passed on as it comes
            "User-Agent": "massgen-runner",
        }
        return await self._session_for(route.unix_socket).post(
            route.request_url,
            data=io.BytesIO(body),
            headers=headers,
            allow_redirects=False,  # the credential would go along
            proxy=proxy_for(route.request_url),
        )

    def _session_for(self, unix_socket: str | None) -> aiohttp.ClientSession:
        """Return the session for a Unix socket, or (None) the one for all of the network."""
        if unix_socket not in self._sessions:
            stall = self._stall_timeout_seconds
            self._sessions[unix_socket] = aiohttp.ClientSession(
                connector=connector(unix_socket),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=stall, sock_connect=stall, sock_read=stall
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Not trust_env: it would also take credentials from ~/.netrc.
            )
        return self._sessions[unix_socket]

    async def _chunks(
        self, response: aiohttp.ClientResponse, first: bytes
    ) -> AsyncGenerator[bytes, None]:
        size = len(first)
        yield first
        while chunk := await self._next_chunk(response):
            size += len(chunk)
            if size > MAX_RESPONSE_BYTES:
                raise BrokenStreamError(f"the answer is larger than {MAX_RESPONSE_BYTES} bytes")
            yield chunk

    async def _next_chunk(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            return await response.content.readany()
        except aiohttp.SocketTimeoutError as error:
            raise BrokenStreamError(
                f"no byte of the answer for {self._stall_timeout_seconds:g} s"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise BrokenStreamError("the connection broke half-way") from error

    async def _refused(
        self, route: Route, response: aiohttp.ClientResponse, attempts: int
    ) -> Exception:
        body = await _error_body(response)
        message = answers.said(body, self._redact)
        refusal = answers.refused(route, response.status, response.headers, message, attempts)
        if answers.is_retried(response.status, response.headers, body):
            now = dt.datetime.now(dt.UTC)
            return _TransientError(refusal, answers.retry_after(response.headers, now))
        return refusal

    def _check_type(self, route: Route, response: aiohttp.ClientResponse, *, stream: bool) -> None:
        kind = response.content_type
        if kind == _STREAM_TYPE if stream else kind.endswith(("/json", "+json")):
            return
        wanted = "a stream of events" if stream else "JSON"
        what = f"answered {response.status} with {one_line(kind, 60)} instead of {wanted}"
        raise self._unusable(route, f"{what}: check base_url", 1)

    def _unusable(self, route: Route, what: str, attempts: int) -> Refusal:
        tries = f" (attempt {attempts})" if attempts > 1 else ""
        return Refusal(
            502,
            self._redact(f"{route.provider.name} at {route.origin} {what}{tries}"),
            type=AgentErrorType.PROVIDER,
        )

    def _failed(self, route: Route, error: Exception, attempts: int) -> Exception:
        """Return what a failed connection means: a refusal, or one that time may heal."""
        limit = f"{self._stall_timeout_seconds:g} s"
        if isinstance(error, aiohttp.SocketTimeoutError):
            # Not asked again: the model may be at work, and would be paid twice.
            refusal = self._unusable(route, f"sent no byte for {limit}: try again later", attempts)
            refusal.status = 504
            return refusal
        if isinstance(error, TimeoutError):
            what = f"could not be connected to within {limit}: check the network and base_url"
            return _TransientError(self._unusable(route, what, attempts))
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            what = "has a certificate that is not trusted: name your CA's file by SSL_CERT_FILE"
            return self._unusable(route, what, 1)
        if isinstance(error, aiohttp.ClientSSLError):
            return self._unusable(route, "does not speak TLS as expected: check base_url", 1)
        reason = one_line(str(error), answers.SAID_CHARS) or type(error).__name__
        if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError):
            what = f"could not be reached: {reason}: check that it runs, and base_url"
            return _TransientError(self._unusable(route, what, attempts))
        return self._unusable(route, f"does not speak HTTP as expected: {reason}", 1)


async def _first_chunk(response: aiohttp.ClientResponse) -> bytes:
    while not response.content.at_eof():
        if chunk := await response.content.readany():
            return chunk
    return b""


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the beginning of an error's body, or what came of it in time."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_ERROR_BODY_SECONDS):
            while size < _MAX_ERROR_BYTES and (chunk := await response.content.readany()):
                parts.append(chunk)
                size += len(chunk)
    except (aiohttp.ClientError, OSError):
        pass  # the status says enough
    return b"".join(parts)[:_MAX_ERROR_BYTES]


def _request_id(response: aiohttp.ClientResponse) -> str | None:
    for name in _REQUEST_ID_HEADERS:
        if value := response.headers.get(name):
            return one_line(value, 128)
    return None


def proxy_for(url: str) -> str | None:
    """Return the proxy that the host's environment names for `url`; never one to this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in {"localhost", "127.0.0.1", "::1"} or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


def connector(unix_socket: str | None) -> aiohttp.BaseConnector:
    """Return connections to a Unix socket, or (None) to all of the network."""
    if unix_socket is not None:
        return aiohttp.UnixConnector(unix_socket, limit=0)
    return aiohttp.TCPConnector(limit=0, ssl=_tls())


def _tls() -> ssl.SSLContext | bool:
    """Trust the CA bundle that the environment names, else the system's.

    OpenSSL reads SSL_CERT_FILE by itself; the other one is what Python programs were taught.
    """
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        if bundle := os.environ.get(name):
            return _trusting(bundle, name)
    return True


def _trusting(bundle: str, name: str) -> ssl.SSLContext:
    try:
        if os.path.isdir(bundle):
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:  # an SSLError is an OSError
        message = f"{name} names {bundle}, which holds no certificates: correct it, or unset it"
        raise Refusal(502, one_line(message, 400), type=AgentErrorType.PROVIDER) from error
