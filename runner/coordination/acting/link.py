"""The connection to one agent's tool server. Runs on: the run container.

Coordination listens, the tool server connects; what it says is read as hostile. Nobody else can
connect while a tool server is served: the socket is not there meanwhile.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from pydantic import JsonValue, ValidationError

from runner.contract.text import one_line
from runner.contract.tools import (
    FROM_SERVER,
    MAX_CALL_OUTPUT_BYTES,
    MAX_FRAME_BYTES,
    Call,
    Cancel,
    Hello,
    Output,
    Result,
    frame,
)
from runner.coordination.acting.frames import READ_BYTES, FrameError, frames
from runner.coordination.acting.hello import read_hello

MAX_AGENT_OUTPUT_BYTES = 64 * 1024 * 1024
"""Of the `Output` frames of all calls of one agent."""
NOT_RECORDED = "\n[the rest of this output is not recorded]\n"
_FLOOD_BYTES_A_SECOND = 12 * 1024 * 1024
"""How fast what is of no use is read: a flood takes no processor time from other agents."""
_RECONNECT_SECONDS = 0.05
"""Between the loss of a connection and the next: a storm of them is not worth answering."""
_BACKLOG = 4
_log = logging.getLogger(__name__)

Hear = Callable[[str], None]


class LinkLostError(Exception):
    """The tool server is not there any more, or does not answer; the message says which."""


class _Waiting:
    """One call under way."""

    def __init__(self, hear: Hear) -> None:
        self.result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.hear = hear
        self.room = MAX_CALL_OUTPUT_BYTES
        self.is_cut = False


class ToolLink:
    """Listens for one agent's tool server; an async context manager."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        self._writer: asyncio.StreamWriter | None = None
        self._hello: Hello | None = None
        self._greeted = asyncio.Event()
        self._waiting: dict[int, _Waiting] = {}
        self._number = 0
        self._room = MAX_AGENT_OUTPUT_BYTES

    async def __aenter__(self) -> Self:
        listener = self._listen()
        self._serving = asyncio.create_task(self._serve(listener), name=str(self._socket_path))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)

    @property
    def is_up(self) -> bool:
        """Whether a tool server has said its Hello and is connected."""
        return self._hello is not None

    async def hello(self, seconds: float) -> Hello:
        """Return what the tool server said first. Raises LinkLostError after `seconds` without."""
        try:
            async with asyncio.timeout(seconds):
                while self._hello is None:
                    await self._greeted.wait()
        except TimeoutError as error:
            raise LinkLostError(f"the tool server was not ready within {seconds:g} s") from error
        return self._hello

    async def call(
        self, tool: str, arguments: dict[str, JsonValue], hear: Hear, seconds: float
    ) -> Result:
        """Return a call's result, `hear` having got what it printed.

        Raises LinkLostError, also after `seconds` without a result: the connection is given up.
        """
        if self._writer is None or not self.is_up:
            raise LinkLostError("the tool server is not connected")
        self._number += 1
        try:
            asked = frame(Call(id=self._number, tool=tool, arguments=arguments))
        except ValueError:  # half a character, or nested too deeply
            return _unsayable(self._number, "the arguments cannot be passed on as JSON")
        if len(asked) > MAX_FRAME_BYTES:
            return _unsayable(self._number, f"the arguments are over {MAX_FRAME_BYTES} bytes")
        self._writer.write(asked)
        return await self._answer(self._number, _Waiting(hear), seconds)

    async def _answer(self, number: int, waiting: _Waiting, seconds: float) -> Result:
        self._waiting[number] = waiting
        try:
            async with asyncio.timeout(seconds):
                return await waiting.result
        except TimeoutError as error:
            self._give_up()
            raise LinkLostError(f"the tool server did not answer within {seconds:g} s") from error
        except asyncio.CancelledError:
            if self._writer is not None:
                self._writer.write(frame(Cancel(id=number)))
            raise
        finally:
            del self._waiting[number]

    def _give_up(self) -> None:
        self._hello = None
        self._greeted.clear()
        if self._writer is not None:
            self._writer.transport.abort()

    def _listen(self) -> socket.socket:
        self._socket_path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self._socket_path))
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        return listener

    async def _serve(self, listener: socket.socket) -> None:
        """Serve one connection after the other; while one has said Hello, nobody can connect."""
        try:
            while True:
                with suppress(OSError):  # a connection that is gone before it is taken
                    connection, _ = await asyncio.get_running_loop().sock_accept(listener)
                    await self._attend(connection, listener)
                self._lose()
                if listener.fileno() == -1:
                    listener = self._listen()
                await asyncio.sleep(_RECONNECT_SECONDS)
        finally:
            self._lose()
            self._stop(listener)

    def _stop(self, listener: socket.socket) -> None:
        listener.close()
        self._socket_path.unlink(missing_ok=True)

    async def _attend(self, connection: socket.socket, listener: socket.socket) -> None:
        """Take what one tool server says until it is gone or says what is not in the protocol."""
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=READ_BYTES)
        self._writer = writer
        lines = frames(reader, MAX_FRAME_BYTES)
        try:
            async for line in lines:
                self._hello = read_hello(line)
                self._greeted.set()
                self._stop(listener)
                await self._take_all(lines)
        except (FrameError, OSError) as error:
            _log.warning("%s: %s", self._socket_path, one_line(str(error), 300))
        finally:
            writer.transport.abort()

    async def _take_all(self, lines: AsyncIterator[bytearray]) -> None:
        useless_bytes = 0
        async for line in lines:
            try:
                message = FROM_SERVER.validate_json(line)
            except ValidationError as error:
                # Its text may be a million times as long as the frame.
                raise FrameError("a frame is no answer to a call") from error
            if not self._take(message, len(line)):
                useless_bytes += len(line)
            if useless_bytes > READ_BYTES:
                await asyncio.sleep(useless_bytes / _FLOOD_BYTES_A_SECOND)
                useless_bytes = 0

    def _take(self, message: Output | Result, size: int) -> bool:
        """Pass a message on; tell whether it was of any use."""
        waiting = self._waiting.get(message.id)
        if waiting is None or waiting.result.done():
            return False  # of a call that nobody waits for any more
        if isinstance(message, Result):
            waiting.result.set_result(message)
            return True
        if min(waiting.room, self._room) >= size:
            waiting.room -= size
            self._room -= size
            waiting.hear(message.text)
            return True
        if not waiting.is_cut:
            waiting.is_cut = True
            waiting.hear(NOT_RECORDED)
        return False

    def _lose(self) -> None:
        self._writer = None
        self._hello = None
        self._greeted.clear()
        for waiting in self._waiting.values():
            if not waiting.result.done():
                waiting.result.set_exception(LinkLostError("the tool server has gone"))


def _unsayable(number: int, why: str) -> Result:
    return Result(id=number, text=why, is_error=True)
