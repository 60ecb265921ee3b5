"""Let calls on a key start no faster than it allows, over all runs of the user. Runs on: host.

There is no daemon: the runs share a directory with a file of counts, changed under a lock, and one
locked file for each call that is under way. The kernel lets go the locks of a run that is killed.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Self

from pydantic import ValidationError

from runner.gateway.rate_state import RateLimits, RateState
from runner.gateway.routes import Route

logger = logging.getLogger(__name__)

_LOCK_POLL_SECONDS = 0.002
_TURN_POLL_SECONDS = 0.02
_MAX_STATE_BYTES = 64 * 1024
_BYTES_PER_TOKEN = 4
NO_LIMITS = RateLimits()
_NONE: Mapping[str, RateLimits] = MappingProxyType({})


class RateLimiter:
    """The keys of one run, each with what its provider allows; `limits` is by provider name.

    Without a `directory` nothing is limited and nobody is told of refusals.
    """

    def __init__(
        self, directory: Path | None = None, limits: Mapping[str, RateLimits] = _NONE
    ) -> None:
        self._directory = directory
        self._limits = limits
        self._keys: dict[str, _Key] = {}

    @asynccontextmanager
    async def place(self, route: Route, body: bytes) -> AsyncIterator["Place"]:
        """Wait until a call may start, and yield its place, which is kept during the block.

        Calls of one run start in the order in which they asked; of several runs, in turn.
        """
        key = self._key(route)
        if key is None:
            yield Place(None, 0.0, 0)
            return
        async with key.entered(len(body) // _BYTES_PER_TOKEN) as place:
            yield place

    def _key(self, route: Route) -> "_Key | None":
        if self._directory is None or route.unix_socket is not None:
            return None
        secret = route.credential.reveal() if route.credential else ""
        name = hashlib.sha256(f"{route.origin}\0{secret}".encode()).hexdigest()[:24]
        if name not in self._keys:
            limits = self._limits.get(route.provider.name, NO_LIMITS)
            self._keys[name] = _Key(self._directory / name, limits)
        return self._keys[name]


class Place:
    """A call's leave to start; what becomes of the call is told to everybody on the key."""

    def __init__(self, key: "_Key | None", start: float, tokens: int) -> None:
        self._key = key
        self._start = start
        self._tokens = tokens

    async def refused(self, wait_seconds: float) -> None:
        """Say that the provider has answered 429."""
        if self._key is not None:
            now = time.monotonic()
            await self._key.change(lambda s: s.refused(now, self._start, wait_seconds))

    async def accepted(self) -> None:
        """Say that the provider has taken the call."""
        if self._key is not None and self._key.is_paced:
            await self._key.change(RateState.accepted)

    async def settle(self, tokens: int) -> None:
        """Say how many tokens the call has taken."""
        key, more = self._key, tokens - self._tokens
        if key is not None and key.limits.tokens is not None and more:
            self._tokens = tokens
            await key.change(lambda s: s.with_tokens(key.limits, self._start, more))


class _Key:
    """One key: the files that all runs share, and this run's own queue."""

    def __init__(self, directory: Path, limits: RateLimits) -> None:
        self.limits = limits
        self.is_paced = False
        self._directory = directory
        # One call of a run at a time asks the others, so that a run with many does not crowd out.
        self._first = asyncio.Lock()
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()

    @asynccontextmanager
    async def entered(self, tokens: int) -> AsyncIterator[Place]:
        async with _Left() as left:
            async with self._first:
                left.keep(await self._slot())
                start = await self._started(tokens)
            yield Place(self, start, tokens)

    async def _started(self, tokens: int) -> float:
        """Return when the call started: now, after the wait."""
        while True:
            start = await self._reserved(tokens)
            try:
                await asyncio.sleep(max(0.0, start - time.monotonic()))
            except asyncio.CancelledError:
                await asyncio.shield(self._given_back(start, tokens))
                raise
            state = await self.change(lambda s: s)
            if state is None or state.blocked_until <= time.monotonic():
                return start
            await self._given_back(start, tokens)  # somebody was refused meanwhile

    async def _reserved(self, tokens: int) -> float:
        now = time.monotonic()
        starts: list[float] = []

        def reserve(state: RateState) -> RateState:
            changed, start = state.with_start(self.limits, now, tokens)
            starts.append(start)
            return changed

        await self.change(reserve)
        return starts[-1] if starts else now

    async def _given_back(self, start: float, tokens: int) -> None:
        await self.change(lambda s: s.without_start(self.limits, start, tokens))

    async def change(self, change: Callable[[RateState], RateState]) -> RateState | None:
        """Change the shared state; None where its files cannot be used: then nothing is limited."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _opened(self._directory / "state.json") as file:
                while not _try_lock(file):
                    await asyncio.sleep(_LOCK_POLL_SECONDS)
                old = self._read(file)
                new = change(old)
                if new != old:
                    _write(file, new)
        except OSError as error:
            logger.warning("%s: rate limits are not kept: %s", self._directory, error.strerror)
            return None
        self.is_paced = new.pace > 0
        return new

    def _read(self, file: int) -> RateState:
        try:
            state = RateState.model_validate_json(os.pread(file, _MAX_STATE_BYTES, 0))
        except ValidationError:  # empty, or of a process that was killed while it wrote
            return RateState(boot_id=self._boot_id)
        return state if state.boot_id == self._boot_id else RateState(boot_id=self._boot_id)

    async def _slot(self) -> int | None:
        """Return the locked file of a call under way, as soon as one is free."""
        if self.limits.concurrency is None:
            return None
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _opened(self._directory / "turn") as turn:
                waited = False
                while not _try_lock(turn):
                    waited = True
                    await asyncio.sleep(_TURN_POLL_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311
                while (slot := self._free_slot(self.limits.concurrency)) is None:
                    waited = True
                    await asyncio.sleep(_TURN_POLL_SECONDS)
        except OSError as error:
            logger.warning("%s: rate limits are not kept: %s", self._directory, error.strerror)
            return None
        if waited:
            with _closed_on_error(slot):
                await asyncio.sleep(2 * _TURN_POLL_SECONDS)  # let another run have the turn
        return slot

    def _free_slot(self, count: int) -> int | None:
        for number in range(count):
            slot = _open(self._directory / f"call-{number}")
            if _try_lock(slot):
                return slot
            os.close(slot)
        return None


class _Left:
    """Closes what a call holds when it ends."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def keep(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = _open(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # unlocks it


@contextmanager
def _closed_on_error(descriptor: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(descriptor)
        raise


def _try_lock(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _write(file: int, state: RateState) -> None:
    content = state.model_dump_json().encode()
    os.ftruncate(file, 0)
    os.pwrite(file, content, 0)
