"""Copies of the agents' workspaces: as they were at a decision. Runs on: the run container.

A copy is made under a name that nobody reads while the host holds the agent's container still,
and gets its place when the decision is recorded. The answers directory, which agents read, gets a
second copy of every answer's workspace: whole, in one step.
"""

import asyncio
import os
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from runner.contract.exchange import put_in_place
from runner.contract.log_layout import STAGED_PREFIX
from runner.contract.run_socket import HOLD_SECONDS, ContainerAction
from runner.contract.spec import AgentTools
from runner.contract.text import one_line
from runner.contract.tree_copy import CopyLimits, CopyReport, copy_tree
from runner.coordination.disk import writing
from runner.coordination.models.client import ModelClient, SupervisorGoneError
from runner.coordination.models.stream import ModelFailure

MAX_SNAPSHOT_BYTES = 1024**3
_RESERVE_BYTES = 1024**3
"""What a snapshot leaves free, or a twentieth of a small disk; a final copy takes what it needs."""


class Staged(NamedTuple):
    """A copy that is complete and has not its place yet."""

    directory: Path
    report: CopyReport
    for_others: str | None = None
    """Name of the second copy in the answers directory."""
    problem: str | None = None
    """Why the agent's container was not held still meanwhile."""


class Workspaces:
    """Copies workspaces for one run; an async context manager that removes what found no place."""

    def __init__(
        self,
        agents: Mapping[str, AgentTools],
        client: ModelClient,
        log_dir: Path,
        answers_dir: Path,
    ) -> None:
        self._agents = agents
        self._client = client
        self._log_dir = log_dir
        self._answers_dir = answers_dir
        self._staged: dict[str, Staged] = {}
        self._aside: set[asyncio.Future[Any]] = set()
        """Work that nobody waits for but the run's end."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for agent_id in list(self._staged):
            self.discard(agent_id)
        while self._aside:
            await asyncio.gather(*self._aside, return_exceptions=True)

    async def stage(self, agent_id: str, *, is_answer: bool) -> Staged | None:
        """Copy an agent's workspace as it is now; None for an agent without one.

        Raises DiskFullError, ExecutionError.
        """
        self.discard(agent_id)
        limits = CopyLimits(self._room(copies=2 if is_answer else 1))
        staged = await self._copy(agent_id, limits)
        if staged is not None and is_answer:
            staged = await self._copy_for_others(staged)
        if staged is not None:
            self._staged[agent_id] = staged
        return staged

    async def stage_final(self, agent_id: str) -> Staged | None:
        """Copy a workspace whole, however much room that takes. Raises like `stage`."""
        tools = self._agents.get(agent_id)
        limits = CopyLimits(tools.disk_bytes, 2_000_000) if tools else CopyLimits()
        return await self._copy(agent_id, limits)

    def publish(self, agent_id: str, name: str) -> None:
        """Show the others what was staged with an agent's answer, under its anonymous name.

        Raises DiskFullError, ExecutionError.
        """
        staged = self._staged.get(agent_id)
        if staged is None or staged.for_others is None:
            return
        with writing(self._answers_dir):
            parent = os.open(self._answers_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                before = put_in_place(parent, staged.for_others, name)
            finally:
                os.close(parent)
        if before is not None:
            self._remove(self._answers_dir / before)
        self._staged[agent_id] = staged._replace(for_others=None)

    def discard(self, agent_id: str) -> None:
        """Remove what was staged for a decision that does not count."""
        staged = self._staged.pop(agent_id, None)
        if staged is None:
            return
        self._remove(staged.directory)
        if staged.for_others is not None:
            self._remove(self._answers_dir / staged.for_others)

    def _room(self, copies: int) -> int:
        """Return how many bytes a snapshot may hold: none that a run could not do without."""
        state = os.statvfs(self._log_dir)
        free, whole = state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize
        room = (free - min(_RESERVE_BYTES, whole // 20)) // copies
        return max(0, min(MAX_SNAPSHOT_BYTES, room))

    async def _copy(self, agent_id: str, limits: CopyLimits) -> Staged | None:
        tools = self._agents.get(agent_id)
        if tools is None:
            return None
        source = Path(tools.workspace)
        target = self._log_dir / f"{STAGED_PREFIX}{secrets.token_hex(4)}"
        if _is_empty(source):
            return Staged(target, await self._in_thread(source, target, limits))
        try:
            async with self._held_still(agent_id) as problem:
                report = await self._in_thread(source, target, limits)
        except BaseException:
            self._remove(target)
            raise
        return Staged(target, report, problem=problem)

    async def _copy_for_others(self, staged: Staged) -> Staged:
        name = f"{STAGED_PREFIX}{secrets.token_hex(4)}"
        try:
            whole = CopyLimits(2 * MAX_SNAPSHOT_BYTES, 1_000_000)
            await self._in_thread(staged.directory, self._answers_dir / name, whole)
        except BaseException:
            self._remove(staged.directory)
            raise
        return staged._replace(for_others=name)

    async def _in_thread(self, source: Path, target: Path, limits: CopyLimits) -> CopyReport:
        """Copy in a thread; one that is not waited for any more ends by itself, soon."""
        stop = threading.Event()
        copying = asyncio.ensure_future(asyncio.to_thread(_copied, source, target, limits, stop))
        self._keep(copying)
        try:
            return await asyncio.shield(copying)
        except asyncio.CancelledError:
            stop.set()
            self._keep(asyncio.ensure_future(_removed_after(copying, target)))
            raise

    @asynccontextmanager
    async def _held_still(self, agent_id: str) -> AsyncIterator[str | None]:
        """Hold the agent's container still for the block; yield why that is not so, if it is not.

        The host lets go by itself when it has not been asked for a while.
        """
        holding: asyncio.Task[None] | None = None
        try:
            problem = await self._ask(agent_id, "pause")
            holding = asyncio.create_task(self._keep_holding(agent_id))
            yield problem
        finally:
            if holding is not None:
                holding.cancel()
            letting_go = asyncio.ensure_future(self._ask(agent_id, "resume"))
            self._keep(letting_go)
            with suppress(SupervisorGoneError):
                await asyncio.shield(letting_go)

    async def _keep_holding(self, agent_id: str) -> None:
        while True:
            await asyncio.sleep(HOLD_SECONDS / 3)
            with suppress(SupervisorGoneError):
                await self._ask(agent_id, "pause")

    async def _ask(self, agent_id: str, action: ContainerAction) -> str | None:
        try:
            await self._client.ask_container(agent_id, action)
        except ModelFailure as failure:
            return failure.message
        return None

    def _remove(self, directory: Path) -> None:
        self._keep(asyncio.ensure_future(asyncio.to_thread(_removed, directory)))

    def _keep(self, future: "asyncio.Future[Any]") -> None:
        self._aside.add(future)
        future.add_done_callback(self._let_go)

    def _let_go(self, future: "asyncio.Future[Any]") -> None:
        self._aside.discard(future)
        if not future.cancelled():
            future.exception()  # it was raised where somebody waited, if anybody did


def _is_empty(directory: Path) -> bool:
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is None
    except OSError:
        return False


def _copied(source: Path, target: Path, limits: CopyLimits, stop: threading.Event) -> CopyReport:
    """Copy a tree; what cannot be completed leaves nothing behind."""
    try:
        with writing(target):
            return copy_tree(source, target, limits, stop)
    except BaseException:
        _removed(target)
        raise


async def _removed_after(copying: asyncio.Future[CopyReport], target: Path) -> None:
    """Remove a copy that was completed although nobody waited for it any more."""
    await asyncio.wait([copying])
    await asyncio.to_thread(_removed, target)


def _removed(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def listing(staged: Staged) -> str:
    """Return what a copy does not hold, for people: a line for each entry."""
    report = staged.report
    lines = [f"{skipped.path}: {skipped.reason}" for skipped in report.skipped]
    if report.skipped_count > len(lines):
        lines.append(f"and {report.skipped_count - len(lines)} more")
    if staged.problem is not None:
        lines.append(f"The container was not held still meanwhile: {one_line(staged.problem)}")
    return "".join(f"{line}\n" for line in lines)


def summary(staged: Staged) -> str:
    """Return in one line what is amiss with a copy; nothing where it is whole."""
    report = staged.report
    parts = []
    if report.skipped_count:
        first = report.skipped[0]
        parts.append(f"{report.skipped_count} left out, the first: {first.path}: {first.reason}")
    if staged.problem is not None:
        parts.append(f"not held still: {staged.problem}")
    return "; ".join(parts)
