"""What a run's agents have sent and received through their proxies, and the log of it.

Runs on: host. One meter is shared by all proxies of a run.
"""

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

logger = logging.getLogger(__name__)

MAX_WAITING = 64
"""Connections of a run on which nothing has been asked yet, or a refusal is being read."""
MAX_LOG_BYTES = 16 * 1024 * 1024

Outcome = Literal["complete", "refused", "failed", "broken", "idle", "limit", "cancelled"]
"""Closed by both sides; not permitted; nobody answered; cut by one side; silent for too long; the
run's megabytes are used up; the run is over."""


class EgressLimits(NamedTuple):
    """What a run may use, all of its agents together."""

    max_connections: int = 64
    max_bytes: int = 1_024_000_000
    """Sent and received."""
    head_seconds: float = 20.0
    """For a request's head to arrive."""
    connect_seconds: float = 20.0
    """For a name to be looked up and its server to be connected to."""
    idle_seconds: float = 300.0
    """A connection on which nothing moves for so long is closed."""


class Passage(NamedTuple):
    """One connection, as it stands in the log."""

    time: float
    """Epoch seconds, of its beginning."""
    agent_id: str
    host: str
    port: int
    address: str | None
    outcome: Outcome
    bytes_up: int
    bytes_down: int
    seconds: float
    reason: str | None = None
    """Why it was refused or failed."""


class EgressMeter:
    """Counts connections and bytes of a run, and writes egress.jsonl while in `with`.

    `log` is a file in the run's private directory; what is there is kept.
    """

    def __init__(self, limits: EgressLimits, log: Path) -> None:
        self.limits = limits
        self._log_path = log
        self._log: int | None = None
        self._log_bytes = 0
        self._open = 0
        self._bytes = 0
        self._waiting: dict[asyncio.WriteTransport, str] = {}

    def __enter__(self) -> Self:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._log = os.open(self._log_path, flags, 0o600)
        self._log_bytes = os.fstat(self._log).st_size
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self._log is not None:
            os.close(self._log)
            self._log = None

    @property
    def bytes_moved(self) -> int:
        """Return what was sent and received so far."""
        return self._bytes

    @property
    def is_used_up(self) -> bool:
        return self._bytes >= self.limits.max_bytes

    def take(self, count: int) -> bool:
        """Count bytes that are to be passed on; False: the run has none left for them."""
        if self._bytes + count > self.limits.max_bytes:
            self._bytes = self.limits.max_bytes
            return False
        self._bytes += count
        return True

    @contextmanager
    def waiting(self, transport: asyncio.WriteTransport, agent_id: str) -> Iterator[None]:
        """Count a connection on which nothing is under way; the oldest makes room for it.

        It is the oldest of the agent that has most of them, so that none keeps another out.
        """
        if len(self._waiting) >= MAX_WAITING:
            owners = list(self._waiting.values())
            most = max(owners, key=owners.count)
            oldest = next(each for each, owner in self._waiting.items() if owner == most)
            del self._waiting[oldest]
            oldest.abort()
        self._waiting[transport] = agent_id
        try:
            yield
        finally:
            self._waiting.pop(transport, None)

    @contextmanager
    def connection(self) -> Iterator[bool]:
        """Yield whether one more connection may be made, and count it while in the block."""
        if self._open >= self.limits.max_connections:
            yield False
            return
        self._open += 1
        try:
            yield True
        finally:
            self._open -= 1

    def note(self, passage: Passage) -> None:
        """Write a line about a connection that has ended; a full log or disk ends no run."""
        if self._log is None or self._log_bytes >= MAX_LOG_BYTES:
            return
        rounded = passage._replace(time=round(passage.time, 3), seconds=round(passage.seconds, 3))
        line = json.dumps(rounded._asdict()).encode() + b"\n"
        self._log_bytes += len(line)
        if self._log_bytes >= MAX_LOG_BYTES:
            line = b'{"outcome": "log full"}\n'
        try:
            os.write(self._log, line)
        except OSError as error:
            logger.warning("egress.jsonl cannot be written: %s", error.strerror)
