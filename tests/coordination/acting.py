"""Agents with workspaces but without containers, and a host that notes what it is asked.

Runs on: host.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from runner.contract.spec import AgentSpec, AgentTools


def acting_agents(directory: Path, *ids: str, **tools: Any) -> tuple[AgentSpec, ...]:
    """Return agents that act, with the directories that a host would have made."""
    (directory / "answers").mkdir(exist_ok=True)
    return tuple(_acting(directory, name, **tools) for name in ids)


def workspace_of(directory: Path, agent_id: str) -> Path:
    return directory / "workspaces" / agent_id


def _acting(directory: Path, name: str, **tools: Any) -> AgentSpec:
    workspace_of(directory, name).mkdir(parents=True)
    (directory / "agents" / name).mkdir(parents=True)
    given = AgentTools(
        workspace=str(workspace_of(directory, name)),
        answers=str(directory / "answers"),
        names=("execute_command",),
        **tools,
    )
    return AgentSpec(id=name, model=f"model-{name}", tools=given)


class Host:
    """Answers requests about containers, and notes them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        """Agent id and action."""
        self.refuses = False

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append((request.match_info["agent"], body["action"]))
        if self.refuses:
            error = {"type": "tool", "message": "the engine cannot pause"}
            return web.json_response({"error": error}, status=503)
        return web.json_response({})


@asynccontextmanager
async def host_on(socket: Path) -> AsyncIterator[Host]:
    """Serve the run socket at `socket` for the block."""
    host = Host()
    app = web.Application()
    app.router.add_post("/agents/{agent}/container", host.answer)
    served = web.AppRunner(app)
    await served.setup()
    await web.UnixSite(served, str(socket)).start()
    try:
        yield host
    finally:
        await served.cleanup()


def on_a_loop(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    """Return a test that runs on an event loop of its own."""

    @functools.wraps(test)
    def run(tmp_path: Path) -> None:
        async def whole() -> None:
            await test(tmp_path)

        asyncio.run(whole())

    return run
