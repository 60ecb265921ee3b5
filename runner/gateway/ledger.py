"""usage.jsonl: what every model call was allowed, and what it took. Runs on: host.

A call has a line when it is let out, with what was set aside for it, and another when it has ended,
with what it took; both name it by `call_id`, and the later one counts. A line is in the kernel's
hands before the call goes on, so that a killed process loses none.
"""

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runner.contract.files import open_regular
from runner.contract.usage import RunUsage, Usage

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 64 * 1024
# More than any call has; a line with more is no record, so that it cannot spoil a sum.
Count = Annotated[int, Field(ge=0, le=10**12)]
Cost = Annotated[float, Field(ge=0, le=1e9)]

CallState = Literal["open", "settled"]
"""Let out, its end unknown; ended."""
CallEnd = Literal["complete", "refused", "broken", "cancelled"]
"""Answered in full; an error of the provider; cut by it half-way; the container hung up."""


class CallRecord(BaseModel):
    """One line of usage.jsonl. Times are epoch seconds; `cached_tokens` are part of the input.

    In state `open` the tokens and the cost are what was set aside, the most that the call can take.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    call_id: str
    state: CallState
    run_id: str
    agent_id: str
    provider: str
    model: str
    started: float
    ended: float | None = None
    end: CallEnd | None = None
    status: int | None = None
    """The provider's last HTTP status; None: it never answered."""
    attempts: Count = 0
    request_id: str | None = None
    """The provider's name for the call, for its support and its bill."""
    input_tokens: Count
    output_tokens: Count
    cached_tokens: Count = 0
    reasoning_tokens: Count = 0
    """Part of the output."""
    cost_usd: Cost | None = None
    """None: the model's price is not known."""
    estimated: bool = False
    """Not the provider's numbers."""
    cached_response: bool = False
    """Answered from the disk, by the cache or a replay: no provider was asked, nothing is paid."""

    def usage(self) -> Usage:
        """Return what the call counts for."""
        return Usage(
            calls=1,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self.reasoning_tokens,
            cost_usd=self.cost_usd,
        )


class LedgerContents(NamedTuple):
    """What a ledger says; open calls count with what was set aside for them."""

    calls: tuple[CallRecord, ...]
    """One record for each call, in the order in which they were let out."""
    skipped: int = 0
    """Lines that are no record."""
    is_torn: bool = False
    """The last line stops short: the process that wrote it was killed, or the disk was full."""


def read_ledger(path: Path) -> LedgerContents:
    """Return the calls of a ledger; what is no record is passed over and counted.

    A file that is missing has no calls. Raises OSError for one that cannot be read, or is a link.
    """
    calls: dict[str, CallRecord] = {}
    skipped = 0
    last = b"\n"
    for last in _lines(path):
        try:
            record = CallRecord.model_validate_json(last)
        except ValidationError:
            skipped += 1
            continue
        before = calls.get(record.call_id)
        if before is None or before.state == "open" or record.state == "settled":
            calls[record.call_id] = record
    return LedgerContents(tuple(calls.values()), skipped, is_torn=not last.endswith(b"\n"))


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines that are not empty; of one that is too long, only its pieces."""
    try:
        with (
            open_regular(path.parent, path.name) as descriptor,
            os.fdopen(descriptor, "rb", closefd=False) as file,
        ):
            while line := file.readline(MAX_LINE_BYTES):
                if line.strip():
                    yield line
    except FileNotFoundError:
        return


def sum_of(calls: "tuple[CallRecord, ...]") -> RunUsage:
    """Return the usage of calls, in all and by agent and model."""
    sums = _Sums()
    for call in calls:
        sums.add(call)
    return sums.usage()


class _Sums:
    def __init__(self) -> None:
        self._total = Usage()
        self._by_agent: dict[str, Usage] = {}
        self._by_model: dict[str, Usage] = {}
        self._open = 0

    def add(self, record: CallRecord) -> None:
        usage = record.usage()
        self._total += usage
        self._by_agent[record.agent_id] = self._by_agent.get(record.agent_id, Usage()) + usage
        self._by_model[record.model] = self._by_model.get(record.model, Usage()) + usage
        self._open += record.state == "open"

    def usage(self) -> RunUsage:
        return RunUsage(
            **self._total.model_dump(),
            open_calls=self._open,
            by_agent=dict(self._by_agent),
            by_model=dict(self._by_model),
        )


class Ledger:
    """Appends records and adds up what has ended; `async with` keeps the file open.

    A line is written at once in one piece; the disk is waited for in a thread, for all lines
    written meanwhile together, so that a slow disk does not hold up the streams.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._syncing: asyncio.Task[None] | None = None
        self._written = 0
        self._on_disk = 0
        self._is_torn = False
        self._sums = _Sums()

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

    def take_up(self) -> tuple[CallRecord, ...]:
        """Return and count the calls that an earlier process noted here; damage is said."""
        contents = read_ledger(self._path) if self._path.is_file() else LedgerContents(())
        self._is_torn = contents.is_torn
        if contents.is_torn:
            logger.warning("%s: the last line stops short; it is left and not counted", self._path)
        others = contents.skipped - contents.is_torn
        if others > 0:
            logger.warning("%s: %d lines are no model calls: passed over", self._path, others)
        for call in contents.calls:
            self._sums.add(call)
        return contents.calls

    def count(self, record: CallRecord) -> None:
        """Add a call that has ended to the sums, once."""
        self._sums.add(record)

    def usage(self) -> RunUsage:
        """Return the sums so far."""
        return self._sums.usage()

    def write(self, record: CallRecord) -> bool:
        """Append a line; False where there is no room for it, which is logged."""
        line = f"{record.model_dump_json()}\n".encode()
        if self._is_torn:
            line = b"\n" + line
        try:
            self._is_torn = os.write(self._descriptor, line) < len(line)
        except OSError as error:
            logger.warning("%s: a model call could not be noted: %s", self._path, error.strerror)
            return False
        if self._is_torn:
            logger.warning("%s: a model call was noted in part: no room", self._path)
        self._written += 1
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.create_task(self._sync())
        return not self._is_torn

    async def synced(self) -> None:
        """Wait until the disk has what was written up to now, or has refused it."""
        wanted = self._written
        while self._on_disk < wanted and self._syncing is not None:
            await asyncio.shield(self._syncing)

    async def _sync(self) -> None:
        while self._on_disk < self._written:
            written = self._written
            try:
                await asyncio.to_thread(os.fsync, self._descriptor)
            except OSError as error:
                logger.warning("%s: not on the disk: %s", self._path, error.strerror)
            self._on_disk = written
