"""Services: what agents reach by the host, which adds the credential. Runs on: host.

One object serves all agents of a run, each by its own socket:

    services = load_services(config.runner.services, environ=environ, cwd=cwd)
    redactor.learn(service_secrets(services))   # both are in runner.gateway.service_credentials
    async with Services(services, redact=redactor) as served:
        async with gateway.agent_socket(agent_id, directory, uid, services=served.answer):
            ...

`answer` raises Refusal for what is not passed on. What it passes on is not taken apart: a service
that repeats its credential in a body gives it to the agent.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, Self
from urllib.parse import unquote, urljoin, urlsplit

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from runner.config.service_rules import PathError, checked_path, is_permitted
from runner.contract.agent_socket import SERVICES_PATH
from runner.contract.text import one_line
from runner.gateway.http_socket import cut
from runner.gateway.redaction import Redactor
from runner.gateway.refusal import Refusal
from runner.gateway.service_credentials import Service
from runner.gateway.upstream import connector, proxy_for

MAX_UNDER_WAY = 32
"""Requests of a run at once, to all services together."""
_CHUNK_BYTES = 64 * 1024
_QUERY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]|^`{}-]|%[0-9A-Fa-f]{2})*")
# Between two neighbours only (RFC 9110, 7.6.1), or the host's to say.
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "te", "trailer")
) | {"proxy-authorization", "proxy-authentication-info", "transfer-encoding", "upgrade"}
# Some servers take these for another method, path or caller than the request's own.
_OVERRIDES = re.compile(
    r"x-(?:http-)?method(?:-override)?|x-original-.*|x-rewrite-.*|x-forwarded-.*|forwarded"
    r"|x-real-ip|x-envoy-.*|via|.*_.*"
)
_NOT_PASSED_ON = _HOP_BY_HOP | {"host", "authorization", "cookie", "content-length", "expect"}
_NOT_PASSED_BACK = _HOP_BY_HOP | {"set-cookie", "content-length", "alt-svc", "date", "server"}


class ServiceLimits(NamedTuple):
    """What a single request may take."""

    max_request_bytes: int = 32 * 1024 * 1024
    max_response_bytes: int = 256 * 1024 * 1024
    idle_seconds: float = 120.0
    """Without a byte from the service, or for it."""
    total_seconds: float = 900.0


DEFAULT_LIMITS = ServiceLimits()


class Services:
    """The services of a run, reachable while in `async with`."""

    def __init__(
        self,
        services: Mapping[str, Service],
        *,
        redact: Redactor,
        limits: ServiceLimits = DEFAULT_LIMITS,
    ) -> None:
        self._services = dict(services)
        self._redact = redact
        self._limits = limits
        self._under_way = 0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        idle = self._limits.idle_seconds
        self._session = aiohttp.ClientSession(
            connector=connector(None),
            timeout=aiohttp.ClientTimeout(
                total=self._limits.total_seconds, sock_connect=idle, sock_read=idle
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def answer(self, request: web.Request, name: str, tail: str) -> web.StreamResponse:
        """Pass a request on to the service `name` and its answer back.

        `tail` is the path below the service as the router read it. Raises Refusal.
        """
        service = self._services.get(name)
        if service is None:
            known = ", ".join(self._services) or "none"
            raise Refusal(404, f"this run has no service {one_line(name, 40)!r} (it has: {known})")
        asked = _asked(request, service, tail, self._limits.max_request_bytes)
        async with self._counted():
            return await self._passed_on(request, service, asked)

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        if self._under_way >= MAX_UNDER_WAY:
            raise Refusal(429, f"{MAX_UNDER_WAY} requests to services are under way: wait for one")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def _passed_on(
        self, request: web.Request, service: Service, asked: str
    ) -> web.StreamResponse:
        assert self._session is not None, "the services are entered"  # noqa: S101
        url = URL(service.url + asked, encoded=True)
        response: web.StreamResponse | None = None
        try:
            async with self._session.request(
                request.method,
                url,
                headers=_onward_headers(request, service),
                data=self._body(request) if request.body_exists else None,
                allow_redirects=False,
                proxy=proxy_for(service.url),
            ) as answer:
                response = self._response(answer, service, request.method)
                await response.prepare(request)
                await self._copy(answer, response)
                await response.write_eof()
                return response
        except (aiohttp.ClientError, TimeoutError, _TooLongError) as error:
            if response is not None and response.prepared:
                cut(request)
                return response
            raise self._refusal(service, error) from error

    async def _body(self, request: web.Request) -> AsyncIterator[bytes]:
        size = 0
        while True:
            async with asyncio.timeout(self._limits.idle_seconds):
                chunk = await request.content.readany()
            if not chunk:
                return
            size += len(chunk)
            if size > self._limits.max_request_bytes:
                raise _TooLongError
            yield chunk

    async def _copy(self, answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        size = 0
        async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
            size += len(chunk)
            if size > self._limits.max_response_bytes:
                raise _TooLongError
            async with asyncio.timeout(self._limits.idle_seconds):
                await response.write(chunk)

    def _response(
        self, answer: aiohttp.ClientResponse, service: Service, method: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, reason=self._safe(answer.reason or ""))
        for name, value in _end_to_end(answer.headers, _NOT_PASSED_BACK):
            is_location = name.lower() == "location"
            shown = _location(value, str(answer.url), service) if is_location else value
            response.headers.add(name, self._safe(shown))
        length = answer.headers.get(hdrs.CONTENT_LENGTH)
        if length is not None and (method == "HEAD" or answer.status not in {204, 304}):
            response.headers[hdrs.CONTENT_LENGTH] = length
        return response

    def _safe(self, text: str) -> str:
        # Not by shape: the address of a redirect may be signed for whoever follows it.
        return one_line(self._redact.without_known(text))

    def _refusal(self, service: Service, error: Exception) -> Refusal:
        cause = error.__cause__ or error  # of what was wrong with the request's own body
        if isinstance(cause, _TooLongError):
            return _too_long(self._limits.max_request_bytes)
        if isinstance(cause, web.RequestPayloadError):
            return Refusal(400, "the body is not what its headers say")
        host = urlsplit(service.url).netloc
        if isinstance(error, TimeoutError) or isinstance(cause, TimeoutError):
            return Refusal(504, f"the service {service.name} at {host} did not answer in time")
        kind = type(error).__name__
        return Refusal(502, f"the service {service.name} at {host} cannot be reached ({kind})")


class _TooLongError(Exception):
    """A body is larger than it may be."""


def _too_long(limit: int) -> Refusal:
    return Refusal(413, f"a request to a service may have {limit:,} bytes")


def _asked(request: web.Request, service: Service, tail: str, max_bytes: int) -> str:
    """Return the path and query that a service is asked for, if it may be. Raises Refusal."""
    if request.version < (1, 1):
        raise Refusal(505, "HTTP/1.1 is needed")
    if request.method not in service.methods:
        allowed = ", ".join(service.methods)
        what = f"{request.method} is not in runner.services.{service.name}.methods"
        raise Refusal(403, f"{one_line(what, 200)} (allowed: {allowed})")
    path, mark, query = request.raw_path.partition("?")
    below = path.removeprefix(f"{SERVICES_PATH}/{service.name}")
    if below == path or unquote(below) != f"/{tail}":
        raise Refusal(400, f"the path must begin with {SERVICES_PATH}/{service.name}/")
    try:
        checked_path(below)
    except PathError as error:
        raise Refusal(400, str(error)) from error
    if not _QUERY.fullmatch(query):
        raise Refusal(400, "the query has a character in it that must be encoded")
    if not is_permitted(below, service.patterns):
        allowed = one_line(", ".join(map(str, service.patterns)), 500)
        what = f"{one_line(below, 200)} is not in runner.services.{service.name}.paths"
        raise Refusal(403, f"{what} (allowed: {allowed})")
    if (request.content_length or 0) > max_bytes:
        raise _too_long(max_bytes)
    return below + mark + query


def _onward_headers(request: web.Request, service: Service) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in _end_to_end(request.headers, _NOT_PASSED_ON):
        if not _OVERRIDES.fullmatch(name.lower()):
            headers.add(name, value)
    for name, value in service.revealed_headers().items():
        headers[name] = value
    if request.body_exists and (length := request.headers.get(hdrs.CONTENT_LENGTH)):
        headers[hdrs.CONTENT_LENGTH] = length
    return headers


def _end_to_end(headers: CIMultiDictProxy[str], dropped: frozenset[str]) -> list[tuple[str, str]]:
    named = {
        token.strip().lower()
        for value in headers.getall(hdrs.CONNECTION, [])
        for token in value.split(",")
    }
    return [(n, v) for n, v in headers.items() if n.lower() not in dropped | named]


def _location(value: str, asked: str, service: Service) -> str:
    """Return where a redirect leads, by the agent's path where it leads to the same service."""
    try:
        target = urljoin(asked, value)
        there, here = urlsplit(target), urlsplit(service.url)
        is_same = (there.scheme, there.hostname, _port(target)) == (
            here.scheme,
            here.hostname,
            _port(service.url),
        )
    except ValueError:
        return value
    if not is_same or not (there.path or "/").startswith(f"{here.path}/") or "@" in there.netloc:
        return target
    rest = there._replace(scheme="", netloc="", path=there.path.removeprefix(here.path)).geturl()
    return f"{SERVICES_PATH}/{service.name}{rest}"


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
