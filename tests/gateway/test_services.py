"""Services: what is passed on, with which credential, and what an agent is not let through with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from runner.config.network import ServiceConfig
from runner.config.service_rules import PathError, checked_path, is_permitted, parse_pattern
from runner.contract.agent_socket import AGENT_SOCKET_NAME
from runner.errors import ConfigurationError
from runner.gateway.redaction import Redactor
from runner.gateway.service_credentials import load_services, service_secrets
from runner.gateway.services import DEFAULT_LIMITS, ServiceLimits, Services
from tests.gateway.serving import route_to, run
from tests.gateway.serving import served as gateway_served

TOKEN = "planted-token-0123456789"


class Seen(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Site(NamedTuple):
    """A real server that keeps what it was asked."""

    url: str
    seen: list[Seen]


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> str:
        return self.body.decode()


@asynccontextmanager
async def site_for(elsewhere: str = "http://elsewhere.example") -> AsyncIterator[Site]:
    """Serve paths that answer, redirect, echo and never end."""
    seen: list[Seen] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen.append(Seen(request.method, request.raw_path, headers, await request.read()))
        place = request.path.removeprefix("/api")
        to = {
            "/repos/same": "/api/repos/there?x=1",
            "/repos/relative": "there",
            "/repos/whole": f"http://{request.host}/api/other",
            "/repos/outside": "/admin",
            "/repos/away": f"{elsewhere}/signed?token=abcdef123456",
            "/repos/echo": f"{elsewhere}/?leak={TOKEN}",
        }.get(place)
        if to:
            return web.Response(status=302, headers={"Location": to})
        if place == "/repos/never":
            await asyncio.Event().wait()
        if place == "/repos/endless":
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"x" * 65536)
        headers_back = {
            "Set-Cookie": "a=b",
            "X-Echo": headers.get("authorization", ""),
            "ETag": "1",
        }
        return web.Response(text=f"{request.method} {place}", headers=headers_back)

    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Site(f"http://127.0.0.1:{runner.addresses[0][1]}/api", seen)
    finally:
        await runner.cleanup()


class Agent(NamedTuple):
    """A client on an agent's socket."""

    session: aiohttp.ClientSession
    socket: Path

    async def ask(self, path: str, method: str = "GET", **more: Any) -> Reply:
        async with self.session.request(
            method, f"http://agent{path}", allow_redirects=False, **more
        ) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(answer.status, headers, await answer.read())

    async def say(self, line: str, *headers: str) -> bytes:
        """Send a request whose path no client would send; return all that comes back."""
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        lines = (f"{line} HTTP/1.1", "Host: agent", "Connection: close", *headers, "", "")
        writer.write("\r\n".join(lines).encode("latin-1"))
        said = await reader.read()
        writer.close()
        return said


@asynccontextmanager
async def agent_of(
    directory: Path,
    url: str,
    methods: tuple[str, ...] = ("GET",),
    limits: ServiceLimits = DEFAULT_LIMITS,
    paths: tuple[str, ...] = ("/repos/**",),
) -> AsyncIterator[Agent]:
    """Serve one service, `github`, on a socket, and connect to it."""
    config = ServiceConfig.model_validate(
        {
            "url": url,
            "headers": {"Authorization": "Bearer ${GITHUB_TOKEN}", "X-Api-Version": "7"},
            "methods": list(methods),
            "paths": list(paths),
        }
    )
    services = load_services({"github": config}, environ={"GITHUB_TOKEN": TOKEN}, cwd=directory)
    redactor = Redactor(service_secrets(services))
    socket = directory / AGENT_SOCKET_NAME
    async with (
        Services(services, redact=redactor, limits=limits) as asked,
        gateway_served(directory, route_to("http://127.0.0.1:1")) as it,
        it.gateway.agent_socket("agent_a", directory, services=asked.answer),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
    ):
        yield Agent(session, socket)


def test_a_request_is_passed_on_with_the_credential(tmp_path: Path) -> None:
    """Path, query, body and headers arrive; the credential is the host's, not the agent's."""

    async def scenario() -> None:
        async with site_for() as site, agent_of(tmp_path, site.url, ("GET", "POST")) as agent:
            reply = await agent.ask(
                "/services/github/repos/a/b?per_page=5&q=x%20y",
                headers={
                    "Authorization": "Bearer mine",
                    "Cookie": "c=1",
                    "X-Api-Version": "1",
                    "X-Mine": "2",
                    "X-HTTP-Method-Override": "DELETE",
                    "X-Forwarded-For": "1.2.3.4",
                },
            )
            assert (reply.status, reply.message) == (200, "GET /repos/a/b")
            assert reply.headers["etag"] == "1"
            [seen] = site.seen
            assert seen.path == "/api/repos/a/b?per_page=5&q=x%20y"
            assert seen.headers["authorization"] == f"Bearer {TOKEN}"
            assert seen.headers["x-api-version"] == "7"
            assert seen.headers["x-mine"] == "2"
            assert seen.headers["host"] == site.url.split("/")[2]
            assert not {"cookie", "x-http-method-override", "x-forwarded-for"} & {*seen.headers}
            await agent.ask("/services/github/repos/c", "POST", data=b"y" * 100_000)
            assert site.seen[1].body == b"y" * 100_000
            assert site.seen[1].headers["content-length"] == "100000"

    run(scenario())


def test_bodies_without_a_length_are_passed_on(tmp_path: Path) -> None:
    """A body in chunks arrives in chunks."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"abc"

    async def scenario() -> None:
        async with site_for() as site, agent_of(tmp_path, site.url, ("PUT",)) as agent:
            assert (await agent.ask("/services/github/repos/c", "PUT", data=chunks())).status == 200
            assert site.seen[0].body == b"abcabcabc"

    run(scenario())


def test_head_and_nothing_else(tmp_path: Path) -> None:
    """A HEAD keeps its length and has no body."""

    async def scenario() -> None:
        async with site_for() as site, agent_of(tmp_path, site.url, ("HEAD",)) as agent:
            reply = await agent.ask("/services/github/repos/c", "HEAD")
            assert (reply.status, reply.body) == (200, b"")
            assert reply.headers["content-length"] == str(len("HEAD /repos/c"))

    run(scenario())


def test_the_credential_does_not_come_back(tmp_path: Path) -> None:
    """A header that repeats the credential is masked, and cookies end on the host."""

    async def scenario() -> None:
        async with site_for() as site, agent_of(tmp_path, site.url) as agent:
            reply = await agent.ask("/services/github/repos/a")
            assert reply.headers["x-echo"] == "Bearer [redacted]"
            assert "set-cookie" not in reply.headers
            reply = await agent.ask("/services/github/repos/echo")
            assert TOKEN not in str(reply)

    run(scenario())


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("same", "/services/github/repos/there?x=1"),
        ("relative", "/services/github/repos/there"),
        ("whole", "/services/github/other"),
        ("away", "http://elsewhere.example/signed?token=abcdef123456"),
    ],
)
def test_redirects_are_the_agents_to_follow(tmp_path: Path, path: str, location: str) -> None:
    """One to the same service leads there again by the host; one elsewhere is passed back."""

    async def scenario() -> None:
        async with site_for() as site, agent_of(tmp_path, site.url) as agent:
            reply = await agent.ask(f"/services/github/repos/{path}")
            assert (reply.status, reply.headers["location"]) == (302, location)
            assert len(site.seen) == 1
            if location.startswith("/services/github/other"):
                assert (await agent.ask(location)).status == 403
            elif location.startswith("/services"):
                assert (await agent.ask(location)).status == 200

    run(scenario())


def test_a_redirect_out_of_the_service_is_none_of_it(tmp_path: Path) -> None:
    """A redirect to the same server outside of the service's address is not made a path of it."""

    async def scenario() -> None:
        async with site_for() as site, agent_of(tmp_path, site.url) as agent:
            reply = await agent.ask("/services/github/repos/outside")
            assert reply.headers["location"] == site.url.replace("/api", "/admin")

    run(scenario())


@pytest.mark.parametrize(
    ("line", "status", "text"),
    [
        ("GET /services/gitlab/repos/a", 404, "this run has no service 'gitlab' (it has: github)"),
        ("POST /services/github/repos/a", 403, "POST is not in runner.services.github.methods"),
        ("DELETE /services/github/repos/a", 403, "(allowed: GET)"),
        ("GET /services/github/user", 403, "/user is not in runner.services.github.paths"),
        ("GET /services/github/repos", 403, "(allowed: /repos/**)"),
        ("GET /services/github/Repos/a", 403, "is not in"),
        ("GET /services/github/repos/../user", 400, "segment . or .."),
        ("GET /services/github/repos/./a", 400, "segment . or .."),
        ("GET /services/github/repos/..;/user", 400, "segment . or .."),
        ("GET /services/github/repos/%2e%2e/user", 400, "encoded"),
        ("GET /services/github/repos/%2E./user", 400, "encoded"),
        ("GET /services/github/repos/a%2fb", 400, "encoded"),
        ("GET /services/github/repos/a%5cb", 400, "encoded"),
        ("GET /services/github/repos/%252e%252e/user", 400, "encoded"),
        ("GET /services/github/repos/..%3b/user", 400, "encoded"),
        ("GET /services/github/repos/a%00", 400, "encoded"),
        ("GET /services/github/repos/a%0d%0aX: y", 400, ""),
        ("GET /services/github/repos/a%", 400, "broken code"),
        ("GET /services/github/repos/%zz", 400, "broken code"),
        ("GET /services/github/repos//a", 400, "empty segment"),
        ("GET /services/github//repos/a", 400, "empty segment"),
        ("GET /services/github/repos/a\\..\\b", 400, ""),
        ("GET /services/github/repos/%ff%fe", 400, "must begin with"),
        ("GET /services/git%68ub/repos/a", 400, "must begin with"),
        ("GET http://agent/services/github/repos/a", 400, ""),
        ("GET //services/github/repos/a", 404, ""),
        ("GET /services/github/repos/a?x=<>", 400, "query"),
    ],
)
def test_other_requests_reach_nobody(tmp_path: Path, line: str, status: int, text: str) -> None:
    """What is not permitted, or can be read in two ways, is refused with what is allowed."""

    async def scenario() -> None:
        async with site_for() as site, agent_of(tmp_path, site.url) as agent:
            said = (await agent.say(line)).decode()
            assert said.startswith((f"HTTP/1.1 {status} ", f"HTTP/1.0 {status} ")), said
            assert text in said
            assert TOKEN not in said
            assert site.seen == []

    run(scenario())


def test_too_much_is_cut(tmp_path: Path) -> None:
    """A request over the limit is refused, by its length or while it comes; an answer is cut."""
    limits = DEFAULT_LIMITS._replace(max_request_bytes=1000, max_response_bytes=300_000)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 500

    async def scenario() -> None:
        async with (
            site_for() as site,
            agent_of(tmp_path, site.url, ("GET", "PUT"), limits) as agent,
        ):
            reply = await agent.ask("/services/github/repos/a", "PUT", data=b"x" * 1001)
            assert (reply.status, site.seen) == (413, [])
            reply = await agent.ask("/services/github/repos/a", "PUT", data=chunks())
            assert reply.status == 413
            with pytest.raises(aiohttp.ClientError):
                await agent.ask("/services/github/repos/endless")

    run(scenario())


def test_a_service_that_does_not_answer(tmp_path: Path) -> None:
    """Silence ends in 504 and an address where nobody listens in 502, without the credential."""
    limits = DEFAULT_LIMITS._replace(idle_seconds=0.2)

    async def scenario() -> None:
        async with site_for() as site, agent_of(tmp_path, site.url, limits=limits) as agent:
            reply = await agent.ask("/services/github/repos/never")
            assert reply.status == 504
            assert "did not answer in time" in reply.message
        async with agent_of(tmp_path, "http://127.0.0.1:1") as agent:
            reply = await agent.ask("/services/github/repos/a")
            assert reply.status == 502
            assert "cannot be reached" in reply.message
            assert TOKEN not in reply.message

    run(scenario())


def test_missing_credentials_are_named_all_at_once(tmp_path: Path) -> None:
    """Each credential that no place has is a problem of its own, with its service."""
    config = ServiceConfig.model_validate(
        {
            "url": "https://a.example",
            "headers": {"X-Token": "${NO_SUCH_TOKEN}", "X-Key": "${NO_OTHER_TOKEN}"},
            "paths": ["/**"],
        }
    )
    with pytest.raises(ConfigurationError) as caught:
        load_services({"a": config}, environ={}, cwd=tmp_path)
    assert [p.partition(" is set")[0] for p in caught.value.problems] == [
        "runner.services.a: no credential for the service a: NO_SUCH_TOKEN",
        "runner.services.a: no credential for the service a: NO_OTHER_TOKEN",
    ]


def test_a_credential_is_not_in_a_repr(tmp_path: Path) -> None:
    """A service's credential is shown by what needs it and by nothing else."""
    config = ServiceConfig.model_validate(
        {"url": "https://a.example", "headers": {"X-Token": "t ${A_TOKEN}"}, "paths": ["/**"]}
    )
    services = load_services({"a": config}, environ={"A_TOKEN": TOKEN}, cwd=tmp_path)
    assert TOKEN not in repr(services)
    assert services["a"].revealed_headers() == {"X-Token": f"t {TOKEN}"}


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/repos/*", "/repos/a", True),
        ("/repos/*", "/repos/", False),
        ("/repos/*", "/repos/a/b", False),
        ("/repos/**", "/repos/a/b/c", True),
        ("/repos/**", "/repos/", True),
        ("/repos/**", "/repos", False),
        ("/repos/**", "/reposx/a", False),
        ("/**", "/", True),
        ("/", "/", True),
        ("/a/", "/a", False),
        ("/a/**/z", "/a/b/c/z", True),
        ("/a/**/z", "/a/z", False),
        ("/a/*/c/**", "/a/b/c/d", True),
    ],
)
def test_patterns(pattern: str, path: str, *, expected: bool) -> None:
    """`*` is one segment, `**` one or more."""
    assert is_permitted(path, [parse_pattern(pattern)]) is expected


SEGMENTS = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", "%2e", "%2F", "%41", "%252e", ";", "..;", "\\", "é"])
    | st.text(max_size=4),
    max_size=6,
)


@given(SEGMENTS)
@example(["a", "%2e%2e", "b"])
def test_a_checked_path_stays_where_it_is(segments: list[str]) -> None:
    """Whoever decodes a checked path, once or twice, and resolves its dots gets the same path."""
    import posixpath
    from urllib.parse import unquote

    path = "/" + "/".join(segments)
    try:
        checked = checked_path(path)
    except PathError:
        return
    for decoded in (checked, unquote(checked), unquote(unquote(checked))):
        resolved = posixpath.normpath(decoded)
        assert resolved == (decoded.rstrip("/") or "/")
        assert decoded.count("/") == checked.count("/")
        assert not set(decoded) & {"\\", "\0", "\r", "\n"}


@given(st.lists(st.sampled_from(["a", "b", "*", "**"]), min_size=1, max_size=5), SEGMENTS)
def test_a_pattern_permits_nothing_around_it(pattern: list[str], segments: list[str]) -> None:
    """A path that a pattern permits begins as the pattern does, up to its first star."""
    parsed = parse_pattern("/" + "/".join(pattern))
    path = "/" + "/".join(segments)
    plain = next((i for i, each in enumerate(pattern) if "*" in each), len(pattern))
    if is_permitted(path, [parsed]):
        assert path.split("/")[1 : plain + 1] == pattern[:plain]
