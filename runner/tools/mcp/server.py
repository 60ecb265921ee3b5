"""One MCP server: started, called, started again if it dies. Runs on: the agent container."""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from mcp.client import Client, Transport
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    Tool,
)
from pydantic import JsonValue, ValidationError

from runner.contract.text import one_line
from runner.contract.tools import McpServerSpec
from runner.tools.calls import Answer, ToolError
from runner.tools.mcp.results import answer_of
from runner.tools.mcp.words import Words, log_path

MAX_RESTARTS = 3
MAX_TOOLS = 100
"""Of one server; the lists of others are longer than a model can use."""
_MAX_UNANSWERED = 2
"""Calls in a row, after which a server that lives is taken for stuck and ended."""
_MAX_PAGES = 20
_STOP_SECONDS = 15.0
_MESSAGE_CHARS = 1_000

Connect = Callable[[Words, asyncio.Event], Transport]
"""Makes a connection that sets the event when it is over."""


class ServerError(Exception):
    """A server that cannot be used; the message goes on from its name."""


class Listing(NamedTuple):
    """What a server says of itself when it is ready."""

    tools: tuple[Tool, ...]
    instructions: str
    is_whole: bool
    """False: it has more tools than are taken."""


class McpServer:
    """One server's connection, kept by a task of its own as the SDK wants it."""

    def __init__(self, spec: McpServerSpec, connect: Connect) -> None:
        self.spec = spec
        self._connect = connect
        self._words = Words(log_path(spec.name))
        self._client: Client | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._restarts = 0
        self._unanswered = 0

    async def start(self) -> Listing:
        """Return what the server offers once it is ready. Raises ServerError."""
        seconds = self.spec.startup_timeout_seconds
        ready: asyncio.Future[Listing] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(ready), name=f"keep {self.spec.name}")
        try:
            async with asyncio.timeout(seconds):
                return await ready
        except TimeoutError as error:
            await self.close()
            raise ServerError(self._quoted(f"was not ready within {seconds:g} s")) from error

    async def close(self) -> None:
        """End the server; it has a second to leave by itself."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait((keeper,), timeout=_STOP_SECONDS)

    async def call(self, tool: str, arguments: Mapping[str, JsonValue]) -> Answer:
        """Return what the tool returned. Raises ToolError."""
        client = await self._living()
        params = CallToolRequestParams(name=tool, arguments=dict(arguments))
        seconds = self.spec.call_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                # Not `client.call_tool`, which has the server's own patterns checked against what
                # it returned: a pattern can be made to take for ever, and everything would stand.
                result = await client.session.send_request(
                    CallToolRequest(params=params), CallToolResult
                )
        except TimeoutError as error:
            self._note_silence(client)
            raise self._failed(f"did not answer within {seconds:g} s") from error
        except ValidationError as error:
            raise self._failed("answered with what is no result of a tool") from error
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                self._lose(client)
                raise self._failed(self._quoted("ended before it answered")) from error
            raise self._failed(f"says: {error.message}") from error
        self._unanswered = 0
        return answer_of(result)

    def _note_silence(self, client: Client) -> None:
        self._unanswered += 1
        if self._unanswered >= _MAX_UNANSWERED:
            self._unanswered = 0
            self._lose(client)

    def _lose(self, client: Client) -> None:
        """Have the next call start the server again."""
        if self._client is client:
            self._client = None

    def _failed(self, what: str) -> ToolError:
        return ToolError(one_line(f"the MCP server {self.spec.name} {what}", _MESSAGE_CHARS))

    async def _living(self) -> Client:
        """Return a connection, made anew where the last one is over. Raises ToolError."""
        async with self._starting:
            if self._client is None:
                await self._start_again()
            if self._client is None:
                raise self._failed(self._quoted("ended as soon as it was ready"))
            return self._client

    async def _start_again(self) -> None:
        if self._restarts == MAX_RESTARTS:
            what = f"has ended {MAX_RESTARTS + 1} times and is not started any more"
            raise self._failed(self._quoted(what))
        self._restarts += 1
        await self.close()
        try:
            await self.start()
        except ServerError as error:
            raise self._failed(f"had ended, and now {error}") from error

    async def _keep(self, ready: asyncio.Future[Listing]) -> None:
        """Hold the connection until it is over or nobody wants it any more."""
        over = asyncio.Event()
        us = Implementation(name="massgen-runner", version="1")
        try:
            async with Client(
                self._connect(self._words, over), cache=None, client_info=us
            ) as client:
                listing = await _listing(client)
                self._client = client
                ready.set_result(listing)
                await over.wait()
                self._client = None
        except Exception as error:  # whatever the SDK raises is this server's own failure
            if not ready.done():
                ready.set_exception(ServerError(self._quoted(_said(error))))
        finally:
            self._client = None
            if not ready.done():
                ready.cancel()

    def _quoted(self, what: str) -> str:
        last = self._words.last
        return f"{what}; its last words: {last}" if last else what


async def _listing(client: Client) -> Listing:
    tools: list[Tool] = []
    cursor = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None or len(tools) > MAX_TOOLS:
            break
    is_whole = cursor is None and len(tools) <= MAX_TOOLS
    return Listing(tuple(tools[:MAX_TOOLS]), client.instructions or "", is_whole)


def _said(error: BaseException) -> str:
    """Return why a server is not ready, from the innermost of the SDK's nested errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case FileNotFoundError():
            return f"cannot be started: there is no {error.filename!r} in the container"
        case OSError():
            return f"cannot be started: {error.strerror or error}"
        case MCPError(code=code) if code == CONNECTION_CLOSED:
            return "ended before it was ready"
        case ValidationError():
            return "said what is not in the protocol"
        case _:
            pass
    return f"cannot be used: {one_line(str(error), 300) or type(error).__name__}"
