"""The tool server: answers the calls that coordination makes. Runs on: the agent container."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from pydantic import ValidationError

from runner.contract.text import one_line
from runner.contract.tools import (
    MAX_CALL_OUTPUT_BYTES,
    MAX_FRAME_BYTES,
    MAX_RESULT_CHARS,
    TO_SERVER,
    Call,
    Cancel,
    Hello,
    Output,
    Result,
    ToolServerSpec,
    frame,
)
from runner.tools.calls import Answer, Emit, Tool, ToolError
from runner.tools.commands import command_tools
from runner.tools.files.toolset import file_tools


def tools_of(spec: ToolServerSpec) -> dict[str, Tool]:
    """Return the tools that a spec asks for, by name."""
    tools = file_tools(spec)
    if spec.commands is not None:
        tools |= command_tools(spec.commands, Path(spec.workspace))
    return tools


async def serve(spec: ToolServerSpec, socket_path: str) -> None:
    """Answer calls until coordination closes the connection. Raises OSError."""
    reader, writer = await asyncio.open_unix_connection(socket_path, limit=MAX_FRAME_BYTES)
    async with AsyncExitStack() as stack:
        stack.callback(writer.close)
        tools, hello = tools_of(spec), Hello()
        if spec.mcp_servers:
            # The protocol's SDK takes a second to import: only who has servers waits for it.
            from runner.tools.mcp.servers import mcp_servers

            offer = await stack.enter_async_context(mcp_servers(spec))
            tools |= offer.tools
            hello = Hello(tools=offer.definitions, problems=offer.problems)
        connection = Connection(writer, tools)
        connection.say(hello)
        await connection.answer(reader)


class Connection:
    """The calls of one connection; each is a task of its own."""

    def __init__(self, writer: asyncio.StreamWriter, tools: Mapping[str, Tool]) -> None:
        self._writer = writer
        self._tools = tools
        self._calls: dict[int, asyncio.Task[None]] = {}

    def say(self, message: Hello | Output | Result) -> None:
        """Send a frame."""
        self._writer.write(frame(message))

    async def answer(self, reader: asyncio.StreamReader) -> None:
        """Take calls until the connection ends, then end what they started."""
        try:
            while line := await reader.readline():
                self._take(TO_SERVER.validate_json(line))
        except (ValidationError, ValueError) as error:
            raise ConnectionError("coordination said what is not in the protocol") from error
        finally:
            for task in self._calls.values():
                task.cancel()
            await asyncio.gather(*self._calls.values(), return_exceptions=True)

    def _take(self, message: Call | Cancel) -> None:
        if isinstance(message, Cancel):
            task = self._calls.get(message.id)
            if task is not None:
                task.cancel()
            return
        task = asyncio.create_task(self._carry_out(message), name=f"call {message.id}")
        self._calls[message.id] = task
        task.add_done_callback(lambda _: self._calls.pop(message.id, None))

    async def _carry_out(self, call: Call) -> None:
        room = MAX_CALL_OUTPUT_BYTES

        def emit(text: str) -> None:
            nonlocal room
            if room > 0:  # beyond, coordination records nothing; the result tells the model
                room -= len(text)
                self.say(Output(id=call.id, text=text))

        answer = await self._answer(call, emit)
        self.say(
            Result(
                id=call.id,
                text=answer.text[:MAX_RESULT_CHARS],
                is_error=answer.is_error,
                exit_code=answer.exit_code,
                images=answer.images,
            )
        )
        with suppress(ConnectionError):
            await self._writer.drain()

    async def _answer(self, call: Call, emit: Emit) -> Answer:
        tool = self._tools.get(call.tool)
        if tool is None:
            return Answer(f"there is no tool {call.tool[:64]!r}", is_error=True)
        try:
            return await tool(call.arguments, emit)
        except ToolError as error:
            return Answer(str(error), is_error=True)
        except Exception as error:  # one call's failure is its own
            said = one_line(f"the tool failed: {type(error).__name__}: {error}", 1000)
            return Answer(said, is_error=True)
