"""Workspaces under watch: real directories, and who is told to end."""

import asyncio
import os
from pathlib import Path

from runner.errors import ExecutionError
from runner.host.disk_limit import DiskLimit, Room
from runner.host.disk_watch import DiskWatch, Tenant

MIB = 1024**2
LIMIT = DiskLimit(16 * MIB, "16m")
DEADLINE_SECONDS = 30.0


class Host:
    """Two agents' containers, of which one is ended when the watch says so."""

    def __init__(self, tmp_path: Path) -> None:
        self.running = {"a": "a1", "b": "b1"}
        self.ended: list[str] = []
        self.failures = 0
        self.looks = 0
        self.whole_bytes: int | None = None
        self.tenants = {name: self._tenant(tmp_path, name) for name in self.running}

    def _tenant(self, tmp_path: Path, name: str) -> Tenant:
        workspace = tmp_path / name
        workspace.mkdir()
        return Tenant(workspace, LIMIT, lambda: self.running.get(name))

    def kill(self, container: str) -> None:
        if self.failures:
            self.failures -= 1
            raise ExecutionError("the engine is busy")
        self.ended.append(container)

    def write(self, name: str, file: str, mebibytes: int) -> None:
        (self.tenants[name].workspace / file).write_bytes(os.urandom(mebibytes * MIB))

    async def until_ended(self, *containers: str) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self.ended != list(containers):
                await asyncio.sleep(0.01)

    def watch(self) -> DiskWatch:
        return DiskWatch(self.tenants, self.kill, look_seconds=0.01, room_of=self.room)

    def room(self, path: Path) -> Room:
        """The real file system, or one of a size that holds the workspaces and nothing else."""
        self.looks += 1
        held = sum(f.stat().st_size for f in path.parent.rglob("*") if f.is_file())
        whole = self.whole_bytes
        return Room.of(path) if whole is None else Room(whole, whole - held, held, 0)

    async def until_looked(self) -> None:
        """Wait until the watch has looked twice more: once from beginning to end."""
        enough = self.looks + 2
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self.looks < enough:
                await asyncio.sleep(0.01)


def test_the_container_that_wrote_too_much_is_ended(tmp_path: Path) -> None:
    """It is ended once, with the reason; who is within the limit works on."""
    host = Host(tmp_path)
    host.write("b", "fine", 4)

    async def watched() -> None:
        async with host.watch():
            host.write("a", "large", 17)
            await host.until_ended("a1")

    asyncio.run(watched())
    reason = host.tenants["a"].reason("a1")
    assert reason is not None
    assert "runner.disk allows (16m)" in reason
    assert host.tenants["b"].reason("b1") is None
    assert host.tenants["a"].refusal is None


def test_the_next_container_may_tidy_up_and_no_more(tmp_path: Path) -> None:
    """It is ended again once it has written a tenth more, and then there is no other."""
    host = Host(tmp_path)

    async def watched() -> None:
        async with host.watch():
            host.write("a", "large", 20)
            await host.until_ended("a1")
            host.running["a"] = "a2"
            host.write("a", "more", 1)
            host.write("b", "large", 20)
            await host.until_ended("a1", "b1")
            host.write("a", "much more", 8)
            await host.until_ended("a1", "b1", "a2")

    asyncio.run(watched())
    refusal = host.tenants["a"].refusal
    assert refusal is not None
    assert "2 times" in refusal


def test_an_engine_that_fails_is_asked_again(tmp_path: Path) -> None:
    """A container that could not be ended is not forgotten."""
    host = Host(tmp_path)
    host.failures = 1

    async def watched() -> None:
        async with host.watch():
            host.write("a", "large", 17)
            await host.until_ended("a1")

    asyncio.run(watched())
    assert host.failures == 0


def test_a_full_disk_costs_one_container_at_a_time(tmp_path: Path) -> None:
    """Who filled it is ended; the other goes on, until it is the one that writes."""
    host = Host(tmp_path)
    host.whole_bytes = 24 * MIB
    host.write("a", "before", 3)

    async def watched() -> None:
        async with host.watch():
            await host.until_looked()
            host.write("a", "small", 5)
            host.write("b", "large", 15)
            await host.until_ended("b1")
            await host.until_looked()
            assert host.ended == ["b1"]
            host.write("a", "more", 2)
            await host.until_ended("b1", "a1")

    asyncio.run(watched())
    reason = host.tenants["b"].reason("b1")
    assert reason is not None
    assert "the disk of the host is nearly full" in reason
