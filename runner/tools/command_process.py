"""One command and its keeper, as the tool server sees them. Runs on: the agent container."""

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from runner.tools import command_keeper
from runner.tools.calls import ToolError

_KEEPER = ("-I", "-B", str(Path(command_keeper.__file__)))
_END_SECONDS = 15.0
"""The keeper ends all in a few seconds; one that was stopped by what it keeps does not."""
_DRAIN_SECONDS = 1.0
"""For output that is still in a pipe whose writers are gone."""

Feed = Callable[[bytes], None]


class Order(NamedTuple):
    """What is to run, and where."""

    command: str
    directory: Path
    environment: Mapping[str, str]


class Ended(BaseModel):
    """How a command came to its end, as its keeper said."""

    model_config = ConfigDict(frozen=True)

    pid: int | None = None
    """Of the shell; None: it was not started."""
    exit_code: int | None = None
    """Of the shell, negative for a signal; None: the keeper was killed, or could not end it."""
    left: int = 0
    """How many processes it had left behind; they were ended."""
    error: str | None = None
    """Why it could not be started."""
    errno: int | None = None
    is_output_held: bool = False
    """Something that nobody keeps has its output open."""


class _Sink(asyncio.Protocol):
    """Takes what comes out of one pipe."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._feed(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class _Pipe(NamedTuple):
    transport: asyncio.BaseTransport
    sink: _Sink


class Command:
    """A command that runs; made by `start_command`."""

    def __init__(
        self,
        keeper: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pipes: list[_Pipe],
    ) -> None:
        self._keeper = keeper
        self._reader = reader
        self._writer = writer
        self._pipes = pipes
        self._said = Ended()
        self._is_started = asyncio.Event()
        self._watched = asyncio.create_task(self._watch())

    @property
    def pid(self) -> int | None:
        """Of the shell, once it is started."""
        return self._said.pid

    async def started(self) -> None:
        """Wait until its shell is there, or cannot be."""
        await self._is_started.wait()

    async def ended(self) -> Ended:
        """Wait until it has ended; a wait that is cancelled leaves it running."""
        return await asyncio.shield(self._watched)

    async def end(self) -> Ended:
        """End it with all that it started."""
        with suppress(OSError):
            self._writer.write_eof()
        try:
            async with asyncio.timeout(_END_SECONDS):
                return await self.ended()
        except TimeoutError:
            self._keeper.kill()
            return await self.ended()

    async def _watch(self) -> Ended:
        try:
            await self._hear()
            _bury(
                self._keeper
            )  # not where this task is cancelled: the keeper ends the command then
            self._kill_group()
            sinks = [pipe.sink.ended for pipe in self._pipes]
            _, held = await asyncio.wait(sinks, timeout=_DRAIN_SECONDS)
            return self._said.model_copy(update={"is_output_held": bool(held)})
        finally:
            self._writer.close()
            for pipe in self._pipes:
                pipe.transport.close()

    async def _hear(self) -> None:
        """Take what the keeper says until it has gone."""
        with suppress(OSError, ValueError):  # it was killed, or another speaks in its place
            while line := await self._reader.readline():
                said = self._said.model_dump() | json.loads(line)
                self._said = Ended.model_validate(said)
                self._is_started.set()
        self._is_started.set()

    def _kill_group(self) -> None:
        """Kill the shell's group where its keeper did not live to do so."""
        if self._said.exit_code is None and self._said.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._said.pid, signal.SIGKILL)


async def start_command(order: Order, *feeds: Feed) -> Command:
    """Start a command; one feed gets all that it prints, of two the second gets its errors.

    Raises ToolError where no process can be started; what the command itself lacks is told at
    its end.
    """
    control, keeper_control = socket.socketpair()
    pipes = [os.pipe() for _ in feeds]
    try:
        keeper = _start_keeper(keeper_control.fileno(), pipes[0][1], pipes[-1][1])
    except OSError as error:
        control.close()
        for reading, _ in pipes:
            os.close(reading)
        raise ToolError(not_started(order, error.errno, error.strerror)) from error
    finally:
        keeper_control.close()
        for _, writing in pipes:
            os.close(writing)
    try:
        reader, writer = await asyncio.open_unix_connection(sock=control)
        writer.write(json.dumps({**order._asdict(), "directory": str(order.directory)}).encode())
        writer.write(b"\n")
        sinks = [await _pipe(*ends) for ends in zip((r for r, _ in pipes), feeds, strict=True)]
    except BaseException:
        _bury(keeper)
        raise
    return Command(keeper, reader, writer, sinks)


def _start_keeper(control: int, output: int, errors: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*interpreter(), *_KEEPER],
        stdin=control,
        stdout=output,
        stderr=errors,
        start_new_session=True,
    )


def interpreter() -> list[str]:
    """Return how this Python was started: in another image by a loader of its own."""
    arguments = Path("/proc/self/cmdline").read_bytes().decode().split("\0")[:-1]
    return [*arguments[: len(arguments) - len(sys.orig_argv)], sys.executable]


async def _pipe(reading: int, feed: Feed) -> _Pipe:
    loop = asyncio.get_running_loop()
    file = os.fdopen(reading, "rb", buffering=0)
    transport, sink = await loop.connect_read_pipe(lambda: _Sink(feed), file)
    return _Pipe(transport, sink)


def _bury(keeper: subprocess.Popen[bytes]) -> None:
    keeper.kill()
    keeper.wait()


def not_started(order: Order, number: int | None, said: str | None) -> str:
    """Return why a command could not be started, for its agent."""
    match number:
        case errno.EAGAIN | errno.ENOMEM:
            return (
                "no process can be started: the container is at its limit of processes or memory; "
                "end some first (list_background_shells, kill_background_shell)"
            )
        case errno.E2BIG:
            return "the command is too long (128 KiB at most): write it to a file and run that"
        case errno.ENOENT:
            return f"working directory does not exist: {order.directory}"
        case errno.ENOTDIR:
            return f"working directory is not a directory: {order.directory}"
        case _:
            return f"the command cannot be run in {order.directory}: {said}"
