"""Containers that are held still, so that their files can be copied. Runs on: host."""

import asyncio
from pathlib import Path

import pytest

from runner.contract.tree_copy import copy_tree
from runner.host.container_spec import bind
from runner.host.stillness import Stillness
from tests.host.containers import Containers, eventually

pytestmark = pytest.mark.docker

_COUNT = """
cd "$1"; mkdir -p many/deep; cd many; touch $(seq 3000); cd ..
i=1000000; while :; do i=$((i+1)); echo $i 1<> one; echo $i 1<> many/deep/two; done
"""


def test_a_container_is_let_go_by_itself(containers: Containers) -> None:
    """Who asked for a pause and died does not keep a container paused."""
    container = containers.start("sleep", "600")

    async def held_and_forgotten() -> None:
        stillness = Stillness(containers.engine, hold_seconds=0.5)
        await stillness.hold(container)
        assert containers.state(container).paused
        async with asyncio.timeout(30):
            while containers.state(container).paused:
                await asyncio.sleep(0.05)

    asyncio.run(held_and_forgotten())


def test_a_copy_holds_one_instant(containers: Containers, tmp_path: Path) -> None:
    """What a program counts in two files is the same in both, though one is copied much later."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    workspace.chmod(0o777)  # the container may be another user
    mount = bind(workspace, str(workspace), read_only=False)
    container = containers.start("sh", "-c", _COUNT, "sh", str(workspace), Mounts=[mount])
    last = workspace / "many/deep/two"
    eventually(lambda: last.exists() and last.stat().st_size > 0)

    async def copied() -> None:
        stillness = Stillness(containers.engine)
        await stillness.hold(container)
        copy_tree(workspace, tmp_path / "copy")
        await stillness.let_go()

    asyncio.run(copied())
    assert not containers.state(container).paused
    one, two = (int((tmp_path / "copy" / name).read_text()) for name in ("one", "many/deep/two"))
    assert one - two in {0, 1}
