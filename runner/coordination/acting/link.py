"""The connection to one agent's tool server. Runs on: the run container.

Coordination listens, the tool server connects; what it says is read as hostile. One connection is
served at a time: while it lasts, others are closed.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import JsonValue, ValidationError

from runner.contract.text import one_line
from runner.contract.tools import (
    FROM_SERVER,
    MAX_FRAME_BYTES,
    Call,
    Cancel,
    Hello,
    Output,
    Result,
    frame,
)

_log = logging.getLogger(__name__)

Hear = Callable[[str], None]


class LinkLostError(Exception):
    """The tool server is not there any more, or said what is not in the protocol."""


class _Waiting(NamedTuple):
    result: asyncio.Future[Result]
    hear: Hear


class ToolLink:
    """Listens for one agent's tool server; an async context manager."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        self._writer: asyncio.StreamWriter | None = None
        self._hello: asyncio.Future[Hello] | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._number = 0

    async def __aenter__(self) -> Self:
        self._socket_path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(
            self._serve, self._socket_path, limit=MAX_FRAME_BYTES
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        if self._writer is not None:
            self._writer.close()
        self._socket_path.unlink(missing_ok=True)

    @property
    def is_up(self) -> bool:
        return self._writer is not None

    async def hello(self, seconds: float) -> Hello:
        """Return what the tool server said first. Raises LinkLostError after `seconds` without."""
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self._expected())
        except TimeoutError as error:
            raise LinkLostError(f"the tool server was not ready within {seconds:g} s") from error

    def _expected(self) -> asyncio.Future[Hello]:
        if self._hello is None:
            self._hello = asyncio.get_running_loop().create_future()
        return self._hello

    async def call(self, tool: str, arguments: dict[str, JsonValue], hear: Hear) -> Result:
        """Return a call's result, `hear` having got what it printed. Raises LinkLostError."""
        if self._writer is None:
            raise LinkLostError("the tool server is not connected")
        self._number += 1
        number = self._number
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _Waiting(future, hear)
        try:
            self._writer.write(frame(Call(id=number, tool=tool, arguments=arguments)))
            return await future
        except asyncio.CancelledError:
            if self._writer is not None:
                self._writer.write(frame(Cancel(id=number)))
            raise
        finally:
            del self._waiting[number]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:
            writer.close()
            return
        self._writer = writer
        try:
            while line := await reader.readline():
                self._take(FROM_SERVER.validate_json(line))
        except (ValidationError, ValueError, OSError) as error:
            _log.warning("%s: %s", self._socket_path, one_line(str(error), 300))
        finally:
            self._lose(writer)

    def _lose(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        self._writer = None
        self._hello = None
        for waiting in self._waiting.values():
            if not waiting.result.done():
                waiting.result.set_exception(LinkLostError("the tool server has gone"))

    def _take(self, message: Hello | Output | Result) -> None:
        if isinstance(message, Hello):
            if not self._expected().done():
                self._expected().set_result(message)
            return
        waiting = self._waiting.get(message.id)
        if waiting is None or waiting.result.done():
            return  # of a call that nobody waits for any more
        if isinstance(message, Output):
            waiting.hear(message.text)
        else:
            waiting.result.set_result(message)
