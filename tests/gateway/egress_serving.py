"""An egress proxy on a real socket, real servers behind it, and clients. Runs on: host."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from runner.config.egress_rules import parse_rules
from runner.contract.agent_socket import EGRESS_SOCKET_NAME
from runner.gateway.egress import EgressProxy
from runner.gateway.egress_meter import EgressLimits, EgressMeter
from runner.gateway.lookups import Resolve

LIMITS = EgressLimits(head_seconds=30.0, connect_seconds=30.0, idle_seconds=30.0)


class Names:
    """A resolver that answers by a list, the last answer for good, and counts who asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Proxied(NamedTuple):
    """A proxy that is served."""

    socket: Path
    log: Path
    meter: EgressMeter

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.socket))

    async def say(self, data: bytes, *, end: bool = False) -> bytes:
        """Send bytes and return all that comes back."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            if end:
                writer.write_eof()
            return await reader.read()
        finally:
            writer.close()

    async def get(self, url: str, *headers: str) -> bytes:
        """Return the answer to a plain GET, head and all."""
        lines = (f"GET {url} HTTP/1.1", f"Host: {url.split('/')[2]}", *headers, "", "")
        return await self.say("\r\n".join(lines).encode())

    async def logged(self, count: int = 1) -> list[dict[str, Any]]:
        """Return the lines of the log, once there are `count`."""
        while True:
            lines = self.log.read_text().splitlines()
            if len(lines) >= count:
                return [json.loads(line) for line in lines]
            await asyncio.sleep(0.01)


@asynccontextmanager
async def proxied(
    directory: Path,
    *allow: str,
    resolve: Resolve | None = None,
    limits: EgressLimits = LIMITS,
    meter: EgressMeter | None = None,
    agent_id: str = "agent_a",
) -> AsyncIterator[Proxied]:
    """Serve a proxy below `directory` that allows these entries."""
    socket_dir = directory / agent_id
    socket_dir.mkdir(parents=True, exist_ok=True)
    log = directory / "egress.jsonl"
    with _entered(meter, limits, log) as shared:
        async with EgressProxy(
            agent_id, parse_rules(allow), socket_dir=socket_dir, meter=shared, resolve=resolve
        ):
            yield Proxied(socket_dir / EGRESS_SOCKET_NAME, log, shared)


@contextmanager
def _entered(meter: EgressMeter | None, limits: EgressLimits, log: Path) -> Any:
    if meter is not None:
        yield meter
        return
    with EgressMeter(limits, log) as own:
        yield own


class Web(NamedTuple):
    """A real HTTP server that keeps what it was sent."""

    port: int
    seen: list[tuple[str, str, dict[str, str], bytes]]

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def web_server() -> AsyncIterator[Web]:
    """Serve on a port of the loopback; every path answers, `/big` at length, `/slow` never."""
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        seen.append((request.method, request.raw_path, dict(request.headers), body))
        if request.path == "/slow":
            await asyncio.Event().wait()
        if request.path == "/big":
            return web.Response(body=b"x" * 1_000_000)
        if request.path == "/hop":
            return web.Response(text="hop", headers={"Connection": "X-Own", "X-Own": "1"})
        return web.Response(text=f"hello from {request.path}")

    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield Web(runner.addresses[0][1], seen)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """Serve on a port of the loopback what is not HTTP: every byte comes back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
