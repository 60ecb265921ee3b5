"""Record what providers answer, while it passes on its way to the container. Runs on: host."""

import asyncio
import json
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Self

from runner.contract.text import one_line
from runner.gateway.cassette import (
    MAX_CALLS,
    MAX_CASSETTE_BYTES,
    MAX_CHUNKS,
    Call,
    End,
    EndKind,
    Header,
    RecordedCall,
    Timing,
    call_lines,
    header_line,
    stopped_line,
)
from runner.gateway.cassette_secrets import Redact, events_of, redacted, redacted_events
from runner.gateway.refusal import Refusal
from runner.gateway.routes import Route
from runner.gateway.upstream import BrokenStreamError, CallProgress, ModelCalls

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 0.02
"""Between the ends of two answers, so that the container takes them in the order recorded."""
FULL = "the cassette is full"
WITHHELD = "the answer that was recorded here held a credential, and was not kept"
_LAST_WORDS = (b"[DONE]", b"message_stop")
_LAST_BYTES = 256


class CassetteWriter:
    """Appends whole calls to a new cassette; a thread of its own redacts and writes.

    `open` and `close` are its owner's. Full disks and the size limit end the recording, not the
    run; `problem` says so.
    """

    def __init__(
        self, path: Path, header: Header, redact: Redact, *, max_bytes: int = MAX_CASSETTE_BYTES
    ) -> None:
        self._path = path
        self._redact = redact
        self._room = max_bytes
        self._header = Header.model_validate(redacted(header.model_dump(mode="json"), redact))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cassette")
        self._descriptor = -1
        self._chunks = 0
        self.calls = 0
        self.problem: str | None = None

    def open(self) -> None:
        """Make the file; raises OSError where there is one already, or no room."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_APPEND
        self._descriptor = os.open(self._path, flags, 0o600)
        self._append(header_line(self._header))

    def add(self, recorded: RecordedCall, times: list[tuple[float, bytes]]) -> None:
        """Write a call whose chunks are still as they came: `times`."""
        self._thread.submit(self._write, recorded, times)

    def close(self) -> None:
        """Wait for what is to be written, and close the file."""
        self._thread.shutdown()
        os.close(self._descriptor)

    def _write(self, recorded: RecordedCall, times: list[tuple[float, bytes]]) -> None:
        if self.problem is not None:
            return
        try:
            finished = self._finished(recorded, times)
            self._chunks += len(finished.chunks)
            if self._chunks > MAX_CHUNKS or self.calls == MAX_CALLS:
                self._append(stopped_line(FULL))
                self.give_up(FULL)
                return
            self._append(call_lines(finished))
            self.calls += self.problem is None
        except Exception as error:  # the edge of the thread: nobody asks for its result
            self.give_up(f"internal error: {type(error).__name__}")
            logger.error("%s: %s", self._path, self.problem)  # noqa: TRY400  # may hold a secret

    def _finished(self, recorded: RecordedCall, times: list[tuple[float, bytes]]) -> RecordedCall:
        events = events_of(times, stream=recorded.call.stream)
        chunks = redacted_events([event for _, event in events], self._redact)
        recorded = recorded._replace(request=redacted(recorded.request, self._redact))
        if chunks is None:
            end = recorded.end.model_copy(
                update={"kind": "refused", "message": WITHHELD, "gateway_status": 502}
            )
            return recorded._replace(chunks=(), end=end)
        timing = recorded.timing.model_copy(
            update={"chunks": tuple(round(when, 4) for when, _ in events)}
        )
        return recorded._replace(chunks=chunks, timing=timing)

    def _append(self, lines: bytes) -> None:
        last = stopped_line(FULL)
        if len(lines) + len(last) > self._room:
            self.give_up(FULL)
            lines = last[: self._room]
        self._room -= len(lines)
        try:
            while lines:
                lines = lines[os.write(self._descriptor, lines) :]
        except OSError as error:
            self.give_up(error.strerror or "cannot be written")

    def give_up(self, why: str) -> None:
        """Write no further call."""
        self.problem = self.problem or why


class Recording:
    """An upstream whose answers go into a cassette as well as to the container."""

    def __init__(self, upstream: ModelCalls, writer: CassetteWriter) -> None:
        self._upstream = upstream
        self._writer = writer
        self._began = time.monotonic()
        self._orders = count()
        self._ordinals: Counter[str] = Counter()
        self._ending = asyncio.Lock()
        self._last_end = 0.0
        self._held_bytes = 0

    async def __aenter__(self) -> Self:
        await self._upstream.__aenter__()
        self._writer.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            await self._upstream.__aexit__(*exc_info)
        finally:
            await asyncio.to_thread(self._writer.close)

    @asynccontextmanager
    async def call(
        self, route: Route, body: bytes, *, stream: bool, progress: CallProgress
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Pass a call on, as `Upstream.call` does, and record it whatever its end."""
        take = _Take(self._elapsed(), next(self._orders))
        self._ordinals[route.agent_id] += 1
        call = Call(
            agent=route.agent_id,
            ordinal=self._ordinals[route.agent_id],
            dialect=route.dialect,
            stream=stream,
        )
        end = End(kind="cancelled")
        try:
            try:
                async with (
                    self._upstream.call(route, body, stream=stream, progress=progress) as chunks,
                    aclosing(self._heard(chunks, take)) as heard,
                ):
                    yield heard
                end = End(kind="complete")
            except Refusal as error:
                end = _refused(error)
                await self._settle()
                raise
            except BrokenStreamError as error:
                end = End(kind="broken", message=one_line(str(error), 1000))
                await self._settle()
                raise
        finally:
            if end.kind == "cancelled" and take.is_complete:
                end = End(kind="complete")  # a container need not wait for the stream's end
            self._keep(call, body, take, end, progress)

    async def _heard(
        self, chunks: AsyncIterator[bytes], take: "_Take"
    ) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            self._hold(take, chunk)
            yield chunk
        take.exhausted = True
        await self._settle()

    def _hold(self, take: "_Take", chunk: bytes) -> None:
        if self._held_bytes + len(chunk) > MAX_CASSETTE_BYTES:
            self._writer.give_up(FULL)
            return
        self._held_bytes += len(chunk)
        take.chunks.append((self._elapsed() - take.started, chunk))

    async def _settle(self) -> None:
        """Hold back the end of an answer until the container has dealt with the one before."""
        async with self._ending:
            now = time.monotonic()
            await asyncio.sleep(max(0.0, self._last_end + SETTLE_SECONDS - now))
            self._last_end = time.monotonic()

    def _keep(
        self, call: Call, body: bytes, take: "_Take", end: End, progress: CallProgress
    ) -> None:
        self._held_bytes -= sum(len(chunk) for _, chunk in take.chunks)
        end = end.model_copy(
            update={
                "status": progress.status,
                "attempts": progress.attempts,
                "request_id": progress.request_id,
            }
        )
        timing = Timing(
            started=round(take.started, 4),
            ended=round(self._elapsed(), 4),
            start_order=take.start_order,
            end_order=next(self._orders),
        )
        # The gateway has read the body before: it is JSON.
        self._writer.add(RecordedCall(call, json.loads(body), (), end, timing), take.chunks)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


class _Take:
    """A call that is being recorded."""

    def __init__(self, started: float, start_order: int) -> None:
        self.started = started
        self.start_order = start_order
        self.chunks: list[tuple[float, bytes]] = []
        self.exhausted = False

    @property
    def is_complete(self) -> bool:
        tail = b"".join(chunk for _, chunk in self.chunks[-4:])[-_LAST_BYTES:]
        return self.exhausted or any(word in tail for word in _LAST_WORDS)


def _refused(error: Refusal) -> End:
    kind: EndKind = "refused"
    return End(
        kind=kind,
        message=one_line(error.error.message, 1000),
        error_type=error.error.type,
        gateway_status=error.status,
    )
