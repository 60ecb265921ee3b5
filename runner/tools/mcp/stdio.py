"""The process of a stdio server and its messages, in bounds. Runs on: the agent container.

The SDK's own transport keeps a line of any length, starts a task for every notification and leaves
stderr to a file of any size: one server could use the memory up that all tools live in.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from runner.contract.tools import McpServerSpec
from runner.tools.command_environment import environment
from runner.tools.mcp.words import Words

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_UNREAD_BYTES = 32 * 1024 * 1024
"""Sent to a server that does not read."""
MAX_REQUESTS = 100
"""Of a server to us, not answered yet."""
_READ_BYTES = 64 * 1024
_LEAVE_SECONDS = 1.0
_REAP_SECONDS = 5.0
_POLL_SECONDS = 0.01

Inbox = MemoryObjectSendStream[SessionMessage | Exception]
Outbox = MemoryObjectReceiveStream[SessionMessage]


class Streams(NamedTuple):
    """What the SDK reads from and writes to."""

    read: MemoryObjectReceiveStream[SessionMessage | Exception]
    write: MemoryObjectSendStream[SessionMessage]


class OutOfBoundsError(Exception):
    """A server that is not listened to any more; the message goes on from its name."""


@asynccontextmanager
async def stdio_transport(
    spec: McpServerSpec, workspace: Path, words: Words, over: asyncio.Event
) -> AsyncGenerator[Streams]:
    """Run a server in a process group of its own; `over` is set when nothing more comes from it.

    Raises OSError if it cannot be started.
    """
    directory = workspace / (spec.cwd or "")
    process = await asyncio.create_subprocess_exec(
        spec.command,
        *spec.args,
        cwd=directory,
        env=environment(os.environ, spec.env, directory),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=_READ_BYTES,
    )
    inbox, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outbox = anyio.create_memory_object_stream[SessionMessage](0)
    traffic = _Traffic(process, words, over)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(traffic.receive, inbox)
            group.start_soon(traffic.send, outbox)
            group.start_soon(traffic.overhear)
            yield Streams(read, write)
            group.cancel_scope.cancel()
    finally:
        for stream in (inbox, read, write, outbox):
            stream.close()
        with anyio.CancelScope(shield=True):
            await _end(process)


class _Traffic:
    """What goes to one process, and what comes from it."""

    def __init__(
        self, process: asyncio.subprocess.Process, words: Words, over: asyncio.Event
    ) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._words = words
        self._over = over
        self._requests = 0

    async def receive(self, inbox: Inbox) -> None:
        """Pass on what the server says until it says no more, or too much."""
        lines = Lines(MAX_MESSAGE_BYTES)
        try:
            while data := await self._stdout.read(_READ_BYTES):
                for line in lines.feed(data):
                    await self._take(line, inbox)
        except OutOfBoundsError as error:
            self._words.add(f"\n{error}\n".encode())
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the session has ended
        finally:
            inbox.close()
            self._over.set()

    async def _take(self, line: bytes, inbox: Inbox) -> None:
        message = _message(line)
        if message is None:
            self._words.add(line[:_READ_BYTES] + b"\n")
            return
        if isinstance(message, JSONRPCNotification):
            return  # progress, logs and changes of lists, in any number; nobody waits for them
        if isinstance(message, JSONRPCRequest):
            self._requests += 1
            if self._requests > MAX_REQUESTS:
                raise OutOfBoundsError(f"asked more than {MAX_REQUESTS} things at once")
        await inbox.send(SessionMessage(message))

    async def send(self, outbox: Outbox) -> None:
        """Give the server what the session says."""
        async for sent in outbox:
            if isinstance(sent.message, JSONRPCResponse | JSONRPCError):
                self._requests -= 1
            data = sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode()
            with suppress(OSError):  # it has closed its stdin; its end is seen on stdout
                self._stdin.write(data + b"\n")
            # Not waited for: a server that does not read must not keep others' calls waiting.
            if self._stdin.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
                self._words.add(b"\nreads nothing of what it is sent\n")
                self._over.set()
                return

    async def overhear(self) -> None:
        """Keep what the server prints on stderr within bounds."""
        while data := await self._stderr.read(_READ_BYTES):
            self._words.add(data)


class Lines:
    """Puts lines together from pieces."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that end in `data`. Raises OutOfBoundsError for one over the limit."""
        first, *others = data.split(b"\n")
        self._size += len(first)
        if self._size > self._limit:
            raise OutOfBoundsError(f"sent a message of more than {self._limit:,} bytes")
        self._pieces.append(first)
        if not others:
            return []
        line = b"".join(self._pieces)
        self._pieces, self._size = [others[-1]], len(others[-1])
        return [part for part in (line, *others[:-1]) if part.strip()]


def _message(line: bytes) -> JSONRPCMessage | None:
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return None


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a server as the protocol wants it, by closing its stdin, and otherwise by force."""
    if process.stdin is not None:
        process.stdin.close()
    await _exited(process, _LEAVE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # What it left in its pipes is read away, or asyncio never takes the process for gone.
    with suppress(TimeoutError):
        async with asyncio.timeout(_REAP_SECONDS):
            await asyncio.gather(*(_drain(pipe) for pipe in (process.stdout, process.stderr)))


async def _drain(pipe: asyncio.StreamReader | None) -> None:
    while pipe is not None and await pipe.read(_READ_BYTES):
        pass


async def _exited(process: asyncio.subprocess.Process, seconds: float) -> None:
    """Wait for the process alone: `wait` waits for all who hold its pipes, its children too."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while process.returncode is None:
                await asyncio.sleep(_POLL_SECONDS)
