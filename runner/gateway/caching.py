"""Answer requests that were answered before from the user's disk, unpaid. Runs on: host.

A request is the same if the provider, its address and the whole body are. Each answer is a cassette
of one call, in a file named by the request's hash; whatever cannot be read counts as not there.
"""

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from runner.contract.files import atomic_write
from runner.errors import ConfigurationError
from runner.gateway.cassette import (
    Call,
    End,
    Header,
    RecordedCall,
    Timing,
    call_lines,
    header_line,
    json_line,
    read_cassette,
)
from runner.gateway.cassette_secrets import Redact, events_of, redacted, redacted_events
from runner.gateway.request_match import same
from runner.gateway.routes import Route
from runner.gateway.upstream import CallProgress, ModelCalls

logger = logging.getLogger(__name__)

MAX_CACHE_BYTES = 1024 * 1024 * 1024
"""When there is more, the answers that were used longest ago go, down to half of it."""
MAX_ANSWER_BYTES = 16 * 1024 * 1024
_LAST_WORDS = (b"[DONE]", b"message_stop", b'"finishReason"')
_HEADER = header_line(Header(recorded_by="cache", question="", config={}))


class _Asked(NamedTuple):
    request: Any
    """As it is kept: without what looks like a credential."""
    file: Path
    call: Call


class Caching:
    """An upstream that is asked only for what is not on the disk yet."""

    def __init__(
        self,
        upstream: ModelCalls,
        directory: Path,
        redact: Redact,
        *,
        max_bytes: int = MAX_CACHE_BYTES,
    ) -> None:
        self._upstream = upstream
        self._directory = directory
        self._redact = redact
        self._max_bytes = max_bytes
        self.hits = 0

    async def __aenter__(self) -> Self:
        await self._upstream.__aenter__()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            await self._upstream.__aexit__(*exc_info)
        finally:
            await asyncio.to_thread(_make_room, self._directory, self._max_bytes)

    @asynccontextmanager
    async def call(
        self, route: Route, body: bytes, *, stream: bool, progress: CallProgress
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield the answer that is kept for this request, or the upstream's, and keep that."""
        asked = self._asked(route, body, stream=stream)
        kept = await asyncio.to_thread(_kept, asked)
        if kept is not None:
            self.hits += 1
            progress.status = kept.end.status
            progress.cached_response = True
            async with aclosing(_given(kept)) as given:
                yield given
            return
        taken: list[tuple[float, bytes]] = []
        async with (
            self._upstream.call(route, body, stream=stream, progress=progress) as chunks,
            aclosing(_heard(chunks, taken)) as heard,
        ):
            yield heard
        await asyncio.to_thread(self._keep, asked, taken, progress)

    def _asked(self, route: Route, body: bytes, *, stream: bool) -> _Asked:
        request = json.loads(body)  # the gateway has read it before: it is JSON
        named = [route.provider.name, route.request_url, route.unix_socket, request]
        name = hashlib.sha256(json_line("asked", named)).hexdigest()
        call = Call(agent=route.agent_id, ordinal=1, dialect=route.dialect, stream=stream)
        return _Asked(redacted(request, self._redact), self._directory / f"{name}.jsonl", call)

    def _keep(
        self, asked: _Asked, taken: list[tuple[float, bytes]], progress: CallProgress
    ) -> None:
        """Write an answer that is whole and holds no credential; a full disk keeps none."""
        events = [event for _, event in events_of(taken, stream=asked.call.stream)]
        if not _is_whole(events, stream=asked.call.stream):
            return
        if redacted_events(events, self._redact) != events:
            return
        timing = Timing(started=0, ended=0, start_order=0, end_order=1, chunks=(0.0,) * len(events))
        end = End(kind="complete", status=progress.status)
        lines = call_lines(RecordedCall(asked.call, asked.request, events, end, timing))
        try:
            atomic_write(asked.file, _HEADER + lines)
        except OSError as error:
            logger.warning("%s: an answer could not be kept: %s", asked.file, error.strerror)


def _kept(asked: _Asked) -> RecordedCall | None:
    try:
        [kept] = read_cassette(asked.file, asked.file.name).calls
    except (ConfigurationError, ValueError):
        return None
    if kept.end.kind != "complete" or not same(kept.request, asked.request):
        return None
    with suppress(OSError):
        os.utime(asked.file, follow_symlinks=False)
    return kept


async def _given(kept: RecordedCall) -> AsyncGenerator[bytes, None]:
    for chunk in kept.chunks:
        yield chunk


async def _heard(
    chunks: AsyncIterator[bytes], taken: list[tuple[float, bytes]]
) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size <= MAX_ANSWER_BYTES:
            taken.append((0.0, chunk))
        else:
            taken.clear()
        yield chunk


def _is_whole(events: list[bytes], *, stream: bool) -> bool:
    """Tell whether this is an answer to the end, without an error in it."""
    if not events or any(b'"error"' in event for event in events):
        return False
    return not stream or any(word in events[-1] for word in _LAST_WORDS)


def _make_room(directory: Path, max_bytes: int) -> None:
    """Remove the answers that were used longest ago, where there is too much."""
    found = []
    with suppress(OSError):
        for entry in os.scandir(directory):
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                found.append((status.st_mtime, status.st_size, entry.path))
    size = sum(each for _, each, _ in found)
    if size <= max_bytes:
        return
    for _, each, path in sorted(found):
        if size <= max_bytes // 2:
            return
        with suppress(OSError):
            os.unlink(path)
            size -= each
