"""The tools of one agent: what it is offered, and how a call is made. Runs on: the run container.

The agent's container is asked for at the first call, or before where only its tool server knows
which tools there are. When it dies, the agent is told why, and the next call gets a new one.
"""

import asyncio
from pathlib import Path
from typing import Self

from pydantic import JsonValue

from runner.contract.run_socket import ContainerAction
from runner.contract.spec import AgentTools
from runner.contract.tools import AGENTS_DIR, TOOLS_SOCKET, Result, ToolDefinition
from runner.coordination.acting.hello import server_tools
from runner.coordination.acting.link import Hear, LinkLostError, ToolLink
from runner.coordination.models.client import ModelClient
from runner.coordination.models.stream import ModelFailure


class Toolbox:
    """One agent's tools, for the whole run; an async context manager."""

    def __init__(
        self, agent_id: str, tools: AgentTools, client: ModelClient, agents_dir: str = AGENTS_DIR
    ) -> None:
        self._agent_id = agent_id
        self._tools = tools
        self._client = client
        self._link = ToolLink(Path(agents_dir) / agent_id / TOOLS_SOCKET)
        self._starting = asyncio.Lock()
        self._was_up = False
        self._problems: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        await self._link.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._link.__aexit__(*exc_info)

    async def definitions(self, hear: Hear) -> tuple[ToolDefinition, ...]:
        """Return the tools that the agent is offered; `hear` gets what is wrong with them.

        Raises LinkLostError or ModelFailure where only the tool server knows, and cannot be had.
        """
        from runner.contract.builtin_tools import BUILTIN_TOOLS  # runs that only talk need none

        builtin = tuple(BUILTIN_TOOLS[name] for name in self._tools.names)
        if not self._tools.is_asked:
            return builtin
        await self._ensure()
        known = server_tools(await self._link.hello(self._tools.ready_seconds))
        if known.problems != self._problems:
            self._problems = known.problems
            hear("".join(f"{problem}\n" for problem in known.problems))
        return (*builtin, *known.definitions)

    async def call(self, tool: str, arguments: dict[str, JsonValue], hear: Hear) -> Result:
        """Make a call; what keeps it from being carried out is a result too."""
        try:
            death = await self._ensure()
            if death is not None:
                hear(f"{death}\n")
            return await self._link.call(tool, arguments, hear)
        except LinkLostError:
            return _refused(await self._explained())
        except ModelFailure as failure:
            return _refused(failure.message)

    async def _ensure(self) -> str | None:
        """Have a tool server; return why the one before is gone, if it is."""
        async with self._starting:
            if self._link.is_up:
                return None
            action: ContainerAction = "replace" if self._was_up else "start"
            death = await self._client.ask_container(self._agent_id, action)
            await self._link.hello(self._tools.ready_seconds)
            self._was_up = True
            return death

    async def _explained(self) -> str:
        try:
            death = await self._ensure()
        except (LinkLostError, ModelFailure) as error:
            return f"the agent's container was lost and cannot be made anew: {error}"
        why = death or "the tool server was lost"
        return (
            f"{why}. The call was not finished. The container has been made anew: running "
            "processes are gone, the files in the workspace are still there."
        )


def _refused(text: str) -> Result:
    return Result(id=1, text=text, is_error=True)
