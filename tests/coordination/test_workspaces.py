"""What becomes of agents' workspaces when they answer, vote and win. Runs on: host."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runner.contract.log_layout import LogLayout
from runner.coordination.models.client import ModelClient
from runner.coordination.workspaces import Workspaces
from tests.coordination.acting import Host, acting_agents, host_on, on_a_loop, workspace_of
from tests.coordination.conftest import Run
from tests.coordination.processes import Running, agents
from tests.support.provider import Hold, NewAnswer, Provider, Rule, Script, Vote


def tree(directory: Path) -> dict[str, str]:
    """Return the files below `directory` with their content."""
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def snapshots_of(layout: LogLayout, agent_id: str) -> list[Path]:
    return sorted((layout.root / agent_id).iterdir())


def hidden(directory: Path) -> list[Path]:
    return list(directory.glob(".*"))


def test_answers_votes_and_the_final_answer_have_the_workspace(
    models: Provider, run: Run, tmp_path: Path
) -> None:
    """Every snapshot, the others' view and final/<winner> hold the files of their author."""
    members = acting_agents(tmp_path, "a", "b")
    for name in ("a", "b"):
        (workspace_of(tmp_path, name) / "deep").mkdir()
        (workspace_of(tmp_path, name) / "deep/file").write_text(f"by {name}")

    ended = run(members)

    assert ended.exit_code == 0, ended.stderr
    winner = ended.status.results.winner
    assert winner is not None
    for name, shown in (("a", "agent1"), ("b", "agent2")):
        snapshots = snapshots_of(ended.layout, name)
        assert len(snapshots) >= 1
        for snapshot in snapshots:
            assert tree(snapshot / "workspace") == {"deep/file": f"by {name}"}
        answered = any((snapshot / "answer.txt").exists() for snapshot in snapshots)
        assert (tmp_path / "answers" / shown).exists() is answered
        if answered:
            assert tree(tmp_path / "answers" / shown) == {"deep/file": f"by {name}"}
    assert tree(ended.layout.final(winner) / "workspace") == {"deep/file": f"by {winner}"}
    assert hidden(ended.layout.root) == hidden(tmp_path / "answers") == []


def test_a_snapshot_is_what_was_there_then(
    models: Provider, start: Callable[..., Running], tmp_path: Path
) -> None:
    """What changes after an answer is in the final workspace, not in the answer's."""
    members = acting_agents(tmp_path, "a", "b")
    workspace = workspace_of(tmp_path, "a")
    (workspace / "file").write_text("first")
    models.play(
        Script(
            rules=(
                Rule((NewAnswer("one"), Vote("agent1", "good")), model="model-a"),
                Rule((Hold("b", Vote("agent1", "good")),), model="model-b", last_repeats=True),
            )
        )
    )
    running = start(members)
    running.wait_until(lambda status: status.agents["a"].vote_cast is not None)
    (workspace / "file").write_text("second")
    (workspace / "more").write_text("new")
    models.release("b")
    ended = running.end()

    assert ended.exit_code == 0, ended.stderr
    answer = snapshots_of(ended.layout, "a")[0]
    assert (answer / "answer.txt").read_text() == "one"
    assert tree(answer / "workspace") == {"file": "first"}
    assert tree(tmp_path / "answers/agent1") == {"file": "first"}
    assert tree(ended.layout.final("a") / "workspace") == {"file": "second", "more": "new"}


def test_what_is_left_out_is_listed(models: Provider, run: Run, tmp_path: Path) -> None:
    """A link that leads out and what is too large are named beside the workspace, and in a line."""
    members = acting_agents(tmp_path, "a", disk_bytes=1000)
    workspace = workspace_of(tmp_path, "a")
    (workspace / "passwd").symlink_to("/etc/passwd")
    (workspace / "large").write_text("x" * 5000)
    (workspace / "small").write_text("fits")

    ended = run(members)

    assert ended.exit_code == 0, ended.stderr
    final = ended.layout.final("a")
    assert tree(final / "workspace") == {"small": "fits"}
    listed = (final / "workspace_skipped.txt").read_text()
    assert "passwd: a link that leads out of the workspace\n" in listed
    assert "large: over 1000 bytes in all\n" in listed
    [answer] = snapshots_of(ended.layout, "a")
    assert "large" not in (answer / "workspace_skipped.txt").read_text()
    said = [line for line in ended.layout.system_status.read_text().splitlines() if "copy" in line]
    assert len(said) == 2
    assert "2 left out" in said[1]


def test_a_closed_workspace_costs_the_copy_only(models: Provider, run: Run, tmp_path: Path) -> None:
    """An agent that removes its workspace's permissions still answers, with an empty copy."""
    members = acting_agents(tmp_path, "a")
    workspace_of(tmp_path, "a").rmdir()

    ended = run(members)

    assert ended.exit_code == 0, ended.stderr
    listed = (ended.layout.final("a") / "workspace_skipped.txt").read_text()
    assert listed.startswith(".: ")


def test_agents_without_tools_have_an_empty_directory(models: Provider, run: Run) -> None:
    """Who only talks has a workspace directory with nothing in it, and nothing is said of it."""
    ended = run(agents("a"))

    assert list((ended.layout.final("a") / "workspace").iterdir()) == []
    assert not (ended.layout.final("a") / "workspace_skipped.txt").exists()


@asynccontextmanager
async def workspaces(directory: Path) -> AsyncIterator[tuple[Workspaces, Host]]:
    """Yield the workspaces of an agent `a`, and the host that is asked to hold it still."""
    [agent] = acting_agents(directory, "a")
    assert agent.tools is not None
    socket, log = directory / "run.sock", directory / "log"
    log.mkdir()
    async with host_on(socket) as host, ModelClient(str(socket)) as client:
        async with Workspaces({"a": agent.tools}, client, log, directory / "answers") as made:
            yield made, host
        assert hidden(log) == hidden(directory / "answers") == []


@on_a_loop
async def test_an_agent_is_held_still_for_the_copy(tmp_path: Path) -> None:
    """The host is asked to pause before the copy and to resume after it."""
    async with workspaces(tmp_path) as (made, host):
        (workspace_of(tmp_path, "a") / "file").touch()
        staged = await made.stage("a", is_answer=True)
        assert host.asked == [("a", "pause"), ("a", "resume")]
        assert staged is not None
        assert staged.problem is None


@on_a_loop
async def test_an_empty_workspace_costs_nothing(tmp_path: Path) -> None:
    """Nobody is held still where there is nothing to copy."""
    async with workspaces(tmp_path) as (made, host):
        await made.stage("a", is_answer=False)
        assert host.asked == []


@on_a_loop
async def test_a_copy_is_made_of_a_container_that_cannot_be_paused(tmp_path: Path) -> None:
    """Where the engine cannot pause, the copy is made all the same and says so."""
    async with workspaces(tmp_path) as (made, host):
        (workspace_of(tmp_path, "a") / "file").touch()
        host.refuses = True
        staged = await made.stage("a", is_answer=False)
        assert staged is not None
        assert (staged.directory / "file").exists()
        assert staged.problem == "the engine cannot pause"


@on_a_loop
async def test_a_copy_that_nobody_waits_for_lets_go_and_leaves_nothing(tmp_path: Path) -> None:
    """A turn that is cancelled while its workspace is copied resumes the agent."""
    async with workspaces(tmp_path) as (made, host):
        for number in range(3000):
            (workspace_of(tmp_path, "a") / str(number)).touch()
        staging = asyncio.create_task(made.stage("a", is_answer=True))
        while not hidden(tmp_path / "log"):
            await asyncio.sleep(0.001)
        staging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await staging
        assert host.asked == [("a", "pause"), ("a", "resume")]


@on_a_loop
async def test_what_is_published_replaces_what_was_there(tmp_path: Path) -> None:
    """A later answer's files take the place of the earlier ones; nothing of these stays."""
    async with workspaces(tmp_path) as (made, _):
        workspace = workspace_of(tmp_path, "a")
        for content in ("old", "new"):
            (workspace / content).write_text(content)
            await made.stage("a", is_answer=True)
            made.publish("a", "agent1")
            (workspace / content).unlink()
        assert tree(tmp_path / "answers/agent1") == {"new": "new"}


@on_a_loop
async def test_readers_see_the_old_files_or_the_new_ones(tmp_path: Path) -> None:
    """While answers replace each other, a reader who opens the directory finds a whole one."""
    async with workspaces(tmp_path) as (made, _):
        workspace = workspace_of(tmp_path, "a")
        (workspace / "one").touch()
        (workspace / "two").touch()
        await made.stage("a", is_answer=True)
        made.publish("a", "agent1")
        seen: list[int] = []
        is_over = False

        def read() -> None:
            while not is_over:
                directory = os.open(tmp_path / "answers/agent1", os.O_RDONLY)
                seen.append(directory)
                os.close(directory)

        reading = asyncio.create_task(asyncio.to_thread(read))
        for _ in range(50):
            await made.stage("a", is_answer=True)
            made.publish("a", "agent1")
        is_over = True
        await reading
        assert seen


@on_a_loop
async def test_what_does_not_count_is_removed(tmp_path: Path) -> None:
    """A copy for an answer that came too late is gone at the end, and nobody has seen it."""
    async with workspaces(tmp_path) as (made, _):
        (workspace_of(tmp_path, "a") / "file").touch()
        await made.stage("a", is_answer=True)
        made.discard("a")
        made.publish("a", "agent1")
    assert not (tmp_path / "answers/agent1").exists()


def test_the_mappings_name_files_that_are_there(models: Provider, run: Run, tmp_path: Path) -> None:
    """snapshot_mappings.json still leads to every answer and vote."""
    ended = run(acting_agents(tmp_path, "a", "b"))
    mappings = json.loads(ended.layout.snapshot_mappings.read_text())
    assert mappings
    for entry in mappings.values():
        assert (ended.layout.root / entry["path"]).is_file()
        assert (ended.layout.root / entry["path"]).parent.joinpath("workspace").is_dir()
