"""usage.jsonl: one line for each model call, and the sums. Runs on: host."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from runner.contract.usage import RunUsage, Usage

logger = logging.getLogger(__name__)

CallEnd = Literal["complete", "refused", "broken", "cancelled"]
"""Answered in full; an error of the provider; cut by it half-way; the container hung up."""


class CallRecord(BaseModel):
    """One line of usage.jsonl. Times are epoch seconds; `cached_tokens` are part of the input."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    run_id: str
    agent_id: str
    provider: str
    model: str
    started: float
    ended: float
    end: CallEnd
    status: int | None
    """The provider's last HTTP status; None: it never answered."""
    attempts: int
    request_id: str | None = None
    """The provider's name for the call, for its support and its bill."""
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    estimated: bool


class Ledger:
    """Appends records and adds them up; `async with` keeps the file open.

    A line is written at once in one piece; the disk is waited for in a thread, for all lines
    written meanwhile together, so that a slow disk does not hold up the streams.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._syncing: asyncio.Task[None] | None = None
        self._dirty = False
        self._is_torn = False
        self._total = Usage()
        self._by_agent: dict[str, Usage] = {}
        self._by_model: dict[str, Usage] = {}

    async def __aenter__(self) -> Self:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._syncing is not None:
                await self._syncing
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def add(self, record: CallRecord) -> None:
        """Count a call and append its line; a full disk is logged, the sums stay right."""
        usage = Usage(
            calls=1,
            input_tokens=record.input_tokens,
            output_tokens=record.output_tokens,
            cached_tokens=record.cached_tokens,
        )
        self._total += usage
        self._by_agent[record.agent_id] = self._by_agent.get(record.agent_id, Usage()) + usage
        self._by_model[record.model] = self._by_model.get(record.model, Usage()) + usage
        self._append(f"{record.model_dump_json()}\n".encode())

    def usage(self) -> RunUsage:
        """Return the sums so far."""
        return RunUsage(
            **self._total.model_dump(),
            by_agent=dict(self._by_agent),
            by_model=dict(self._by_model),
        )

    def _append(self, line: bytes) -> None:
        if self._is_torn:
            line = b"\n" + line
        try:
            self._is_torn = os.write(self._descriptor, line) < len(line)
        except OSError as error:
            logger.warning("%s: a model call could not be noted: %s", self._path, error.strerror)
            return
        if self._is_torn:
            logger.warning("%s: a model call was noted in part: no room", self._path)
        self._dirty = True
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.create_task(self._sync())

    async def _sync(self) -> None:
        while self._dirty:
            self._dirty = False
            try:
                await asyncio.to_thread(os.fsync, self._descriptor)
            except OSError as error:
                logger.warning("%s: not on the disk: %s", self._path, error.strerror)
