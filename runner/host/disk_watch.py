"""Watch how much agents' workspaces hold, and end the containers that fill them. Runs on: host.

A bind mount has no quota. The file system is asked twice a second, which costs nothing; workspaces
are walked only when it has filled by a step, or now and then.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from runner.errors import RunnerError
from runner.host.disk_limit import (
    FULL_HOST,
    MAX_DISK_DEATHS,
    Allowance,
    DiskLimit,
    Room,
    allowance_after_death,
    allowance_after_look,
    over,
    to_blame,
)
from runner.host.workspace_size import Held, held

LOOK_SECONDS = 0.5
_WALK_SECONDS = 10.0
"""Walks are at most so far apart: what others delete meanwhile can hide what an agent writes."""
_REST = 4
"""A walk is followed by a rest of so many times its length: models are served by this process."""
_log = logging.getLogger(__name__)


class Tenant:
    """One agent's workspace, and what was done about it."""

    def __init__(
        self, workspace: Path, limit: DiskLimit, container: Callable[[], str | None]
    ) -> None:
        self.workspace = workspace
        self.limit = limit
        self.container = container
        """Returns the id of the container that may write there, if there is one."""
        self.allowance = Allowance.of(limit)
        self.found = Held()
        self.reference_bytes = 0
        """What it held when the file system was not nearly full."""
        self._reasons: dict[str, str] = {}

    @property
    def to_watch(self) -> str | None:
        """Return the id of its container, unless that was ended already."""
        container = self.container()
        return None if container in self._reasons else container

    def note(self, container: str, reason: str) -> None:
        """Remember why a container is ended, before it is."""
        self._reasons[container] = reason

    def forget(self, container: str) -> None:
        """Take back what was noted: the container could not be ended."""
        self._reasons.pop(container, None)

    def reason(self, container: str) -> str | None:
        """Return why a container was ended, if it was ended for its workspace."""
        return self._reasons.get(container)

    @property
    def refusal(self) -> str | None:
        """Return why the agent gets no further container, None where it may have one."""
        if len(self._reasons) < MAX_DISK_DEATHS:
            return None
        last = list(self._reasons.values())[-1]
        return f"{last}; it was ended {len(self._reasons)} times for that, and is not made anew"


class DiskWatch:
    """Watches the workspaces of one run; an async context manager."""

    def __init__(
        self,
        tenants: Mapping[str, Tenant],
        kill: Callable[[str], None],
        look_seconds: float = LOOK_SECONDS,
        room_of: Callable[[Path], Room] = Room.of,
    ) -> None:
        self._tenants = tenants
        self._kill = kill
        self._look_seconds = look_seconds
        self._room_of = room_of
        self._stop = threading.Event()
        self._before: Room | None = None
        self._walked_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._tenants:
            self._task = asyncio.create_task(self._watch(), name="disk watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        pause = self._look_seconds
        while True:
            await asyncio.sleep(pause)
            started = time.monotonic()
            try:
                await self._look()
            except (OSError, RunnerError) as error:
                _log.warning("disk watch: %s", error)
                self._before = None  # what was not carried out is looked at again
            pause = max(self._look_seconds, _REST * (time.monotonic() - started))

    async def _look(self) -> None:
        """Look once. Raises OSError, and RunnerError where a container cannot be ended."""
        watched = {n: t for n, t in self._tenants.items() if t.to_watch is not None}
        if not watched:
            return
        room = self._room_of(next(iter(watched.values())).workspace)
        if not self._is_walk_due(room, watched):
            return
        self._before, self._walked_at = room, time.monotonic()
        for tenant in watched.values():
            await self._judge(tenant)
        await self._keep_room(room, watched)

    def _is_walk_due(self, room: Room, watched: Mapping[str, Tenant]) -> bool:
        if self._before is None or room.is_nearly_full:
            return True
        if time.monotonic() - self._walked_at > _WALK_SECONDS:
            return True
        if room.has_grown_since(self._before, min(t.limit.bytes for t in watched.values())):
            return True
        self._before = room.least(self._before)
        return False

    async def _judge(self, tenant: Tenant) -> None:
        tenant.found = await self._walk(tenant)
        reason = over(tenant.limit, tenant.allowance, tenant.found)
        if reason is None:
            kept = allowance_after_look(tenant.limit, tenant.allowance, tenant.found)
            tenant.allowance = kept
        else:
            await self._end(tenant, reason)

    async def _walk(self, tenant: Tenant) -> Held:
        entries = tenant.allowance.entries + 1
        return await asyncio.to_thread(held, tenant.workspace, entries, self._stop)

    async def _keep_room(self, room: Room, watched: Mapping[str, Tenant]) -> None:
        """On a disk that is nearly full, end the container that filled it."""
        if not room.is_nearly_full:
            _refer(watched)
            return
        growth = {
            name: tenant.found.bytes - tenant.reference_bytes
            for name, tenant in watched.items()
            if tenant.to_watch is not None
        }
        name = to_blame(growth)
        if name is not None:
            await self._end(watched[name], FULL_HOST)
            _refer(watched)  # one at a time: the others have to go on writing to be next

    async def _end(self, tenant: Tenant, reason: str) -> None:
        """End a tenant's container, and allow what is there then. Raises RunnerError."""
        container = tenant.to_watch
        if container is None:
            return
        tenant.note(container, reason)
        try:
            await asyncio.to_thread(self._kill, container)
        except RunnerError:
            tenant.forget(container)
            raise
        most = 2 * tenant.allowance.entries
        tenant.found = await asyncio.to_thread(held, tenant.workspace, most, self._stop)
        tenant.allowance = allowance_after_death(tenant.limit, tenant.found)
        tenant.reference_bytes = tenant.found.bytes


def _refer(tenants: Mapping[str, Tenant]) -> None:
    for tenant in tenants.values():
        tenant.reference_bytes = tenant.found.bytes
