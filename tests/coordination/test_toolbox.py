"""An agent's tools while its container starts, dies and is made anew. Runs on: host."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from runner.contract.run_socket import ContainerReply, ContainerRequest
from runner.contract.spec import AgentTools
from runner.contract.status import AgentErrorType
from runner.contract.tools import TOOLS_SOCKET, Hello, Result, frame
from runner.coordination.acting.toolbox import Toolbox
from runner.coordination.models.client import ModelClient
from runner.coordination.models.stream import Delta, DeltaKind
from runner.coordination.tool_log import WatchedCall
from runner.gateway.refusal import Refusal
from runner.gateway.server import Gateway

_SECONDS = 60.0
_TOOLS = AgentTools(workspace="/w", answers="/answers", names=("execute_command",))


class Host:
    """Starts tool servers that the test speaks for, in place of the host's containers."""

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path
        self.asked: list[str] = []
        self.deaths: list[str] = []
        """Said one after the other, for each container that is made after the first."""
        self.refusal: Refusal | None = None
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.servers: list[Server] = []

    async def answer(self, _: str, request: ContainerRequest) -> ContainerReply:
        self.asked.append(request.action)
        await self.may_start.wait()
        if self.refusal is not None:
            raise self.refusal
        server = Server(*await asyncio.open_unix_connection(self.socket_path))
        self.servers.append(server)
        return ContainerReply(death=self.deaths.pop(0) if self.deaths else None)

    async def server(self, number: int) -> "Server":
        """Return a tool server, once it is there."""
        while len(self.servers) <= number:
            await asyncio.sleep(0.005)
        return self.servers[number]

    def close(self) -> None:
        for server in self.servers:
            server.end()


class Server:
    """A tool server that has said its Hello."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.write(frame(Hello()))

    async def heard(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._reader.readline())
        return message

    async def answer(self, text: str) -> None:
        """Answer the next call."""
        number = (await self.heard())["id"]
        self._writer.write(frame(Result(id=number, text=text)))

    def end(self) -> None:
        self._writer.transport.abort()


@contextmanager
def _watch(tool: str, arguments: Mapping[str, JsonValue]) -> Iterator[WatchedCall]:
    yield WatchedCall(tool, arguments, 0.0)


@asynccontextmanager
async def _made(directory: Path) -> AsyncIterator[tuple[Toolbox, Host]]:
    agents, sockets = directory / "agents", directory / "socket"
    (agents / "a").mkdir(parents=True)
    sockets.mkdir()
    host = Host(agents / "a" / TOOLS_SOCKET)
    gateway = Gateway(
        {}, socket_dir=sockets, ledger=directory / "usage", run_id="r", containers=host.answer
    )
    async with gateway, ModelClient(str(sockets / "run.sock")) as client:
        async with Toolbox("a", _TOOLS, client, _watch, str(agents)) as toolbox:
            yield toolbox, host
        host.close()


def play(scene: Callable[[Toolbox, Host], Coroutine[Any, Any, None]]) -> None:
    """Play a scene with a toolbox and the host that it asks."""

    async def played() -> None:
        with tempfile.TemporaryDirectory() as directory:
            async with asyncio.timeout(_SECONDS), _made(Path(directory)) as (toolbox, host):
                await scene(toolbox, host)

    asyncio.run(played())


def called(toolbox: Toolbox) -> "asyncio.Task[Result]":
    return asyncio.create_task(toolbox.call("execute_command", {}, lambda _: None))


def test_the_container_starts_while_the_call_is_written() -> None:
    """The name of a tool in the model's words has the container started; a decision's has not."""

    async def scene(toolbox: Toolbox, host: Host) -> None:
        heard: list[str] = []
        listen = toolbox.overhearing(lambda delta: heard.append(delta.text))
        listen(Delta(DeltaKind.TEXT, "execute_command"))
        listen(Delta(DeltaKind.TOOL_NAME, "vote"))
        listen(Delta(DeltaKind.TOOL_NAME, "execute_command"))
        listen(Delta(DeltaKind.TOOL_NAME, "execute_command"))
        server = await host.server(0)
        call = called(toolbox)
        await server.answer("done")
        assert (await call).text == "done"
        assert host.asked == ["start"]
        assert heard == ["execute_command", "vote", "execute_command", "execute_command"]

    play(scene)


def test_a_restarted_turn_does_not_stop_the_start() -> None:
    """A call that is cancelled while its container starts leaves it to the next, made once."""

    async def scene(toolbox: Toolbox, host: Host) -> None:
        host.may_start.clear()
        call = called(toolbox)
        while not host.asked:
            await asyncio.sleep(0.005)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        after = called(toolbox)
        host.may_start.set()
        await (await host.server(0)).answer("done")
        assert (await after).text == "done"
        assert host.asked == ["start"]

    play(scene)


def test_calls_of_a_container_that_dies_are_told_why() -> None:
    """All calls under way learn the reason, the container is made anew once, and works."""

    async def scene(toolbox: Toolbox, host: Host) -> None:
        calls = [called(toolbox), called(toolbox)]
        server = await host.server(0)
        await server.heard()
        await server.heard()
        host.deaths.append("It was out of memory")
        server.end()
        for result in await asyncio.gather(*calls):
            assert result.is_error
            assert "It was out of memory. The call was not finished." in result.text
            assert "made anew" in result.text
        again = called(toolbox)
        await (await host.server(1)).answer("done")
        assert (await again).text == "done"
        assert host.asked == ["start", "replace"]

    play(scene)


def test_a_death_between_two_calls_is_told_with_the_next_result() -> None:
    """An agent learns that its processes are gone, although no call was under way."""

    async def scene(toolbox: Toolbox, host: Host) -> None:
        first = called(toolbox)
        server = await host.server(0)
        await server.answer("done")
        await first
        host.deaths.append("Somebody removed it")
        server.end()
        while not host.socket_path.exists():  # coordination listens for the next one
            await asyncio.sleep(0.005)
        second = called(toolbox)
        await (await host.server(1)).answer("done")
        told = (await second).text
        assert told.startswith("[Somebody removed it. The container has been made anew")
        assert told.endswith("\ndone")
        third = called(toolbox)
        await (await host.server(1)).answer("done")
        assert (await third).text == "done"

    play(scene)


def test_a_container_that_cannot_be_had_is_a_result() -> None:
    """What the host refuses is an error of the call in the host's words, and not for good."""

    async def scene(toolbox: Toolbox, host: Host) -> None:
        host.refusal = Refusal(503, "the engine is gone", type=AgentErrorType.TOOL)
        refused = await called(toolbox)
        assert refused.is_error
        assert "cannot be started: the engine is gone" in refused.text
        host.refusal = None
        call = called(toolbox)
        await (await host.server(0)).answer("done")
        assert (await call).text == "done"

    play(scene)


def test_a_container_that_is_lost_for_good_is_a_result() -> None:
    """A call whose container dies and is not made anew says both."""

    async def scene(toolbox: Toolbox, host: Host) -> None:
        call = called(toolbox)
        server = await host.server(0)
        await server.heard()
        host.refusal = Refusal(409, "it has died 6 times", type=AgentErrorType.TOOL)
        server.end()
        assert "cannot be made anew: it has died 6 times" in (await call).text

    play(scene)
