"""The tools of one agent: what it is offered, and how a call is made. Runs on: the run container.

The agent's container is asked for when its model begins to write the first call, or before where
only its tool server knows which tools there are. When it dies, the agent is told why, and the
next call gets a new one.
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
from runner.coordination.models.stream import Delta, DeltaKind, Listener, ModelFailure
from runner.coordination.tool_log import Watch

_LOOK_AGAIN_SECONDS = 2.0
"""After so long without a tool server the host looks whether its container still lives."""
GRACE_SECONDS = 30.0
"""How much later than a call's own time limit the tool server may answer."""
MAX_CALL_SECONDS = 86_400.0
_MADE_ANEW = (
    "The container has been made anew: running processes are gone, the files in the workspace are "
    "still there."
)


class Toolbox:
    """One agent's tools, for the whole run; an async context manager."""

    def __init__(
        self,
        agent_id: str,
        tools: AgentTools,
        client: ModelClient,
        watch: Watch,
        agents_dir: str = AGENTS_DIR,
    ) -> None:
        self._agent_id = agent_id
        self._tools = tools
        self._client = client
        self._watch = watch
        self._link = ToolLink(Path(agents_dir) / agent_id / TOOLS_SOCKET)
        self._starting: asyncio.Task[None] | None = None
        self._was_up = False
        self._problems: tuple[str, ...] = ()
        self._deaths: list[str] = []
        self._told = 0

    async def __aenter__(self) -> Self:
        await self._link.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._starting is not None:
            self._starting.cancel()
        await self._link.__aexit__(*exc_info)

    async def definitions(self, hear: Hear) -> tuple[ToolDefinition, ...]:
        """Return the tools that the agent is offered; `hear` gets what is wrong with them.

        Raises LinkLostError or ModelFailure where only the tool server knows, and cannot be had.
        """
        from runner.contract.builtin_tools import BUILTIN_TOOLS  # runs that only talk need none

        builtin = tuple(BUILTIN_TOOLS[name] for name in self._tools.names)
        if not self._tools.is_asked:
            return builtin
        await self._ready()
        known = server_tools(await self._link.hello(self._tools.ready_seconds))
        if known.problems != self._problems:
            self._problems = known.problems
            hear("".join(f"{problem}\n" for problem in known.problems))
        return (*builtin, *known.definitions)

    def overhearing(self, listen: Listener) -> Listener:
        """Return `listen`, which has the container started while the model writes its call."""

        def hear(delta: Delta) -> None:
            if delta.kind is DeltaKind.TOOL_NAME and delta.text in self._tools.names:
                self._prepare()
            listen(delta)

        return hear

    async def call(self, tool: str, arguments: dict[str, JsonValue], hear: Hear) -> Result:
        """Make a call; what keeps it from being carried out is a result too."""
        with self._watch(tool, arguments) as watched:

            def heard(text: str) -> None:
                watched.was_heard = True
                hear(text)

            watched.result = await self._carried_out(tool, arguments, heard)
            return watched.result

    async def _carried_out(self, tool: str, arguments: dict[str, JsonValue], hear: Hear) -> Result:
        try:
            await self._ready()
        except (LinkLostError, ModelFailure) as error:
            return _refused(f"the agent's container cannot be started: {error}")
        news = self._news()
        deaths = len(self._deaths)
        try:
            result = await self._link.call(tool, arguments, hear, self._seconds(tool, arguments))
        except LinkLostError as error:
            return _refused(f"{news}{await self._explained(error, deaths)}")
        return result.model_copy(update={"text": f"{news}{result.text}"}) if news else result

    def _prepare(self) -> "asyncio.Task[None] | None":
        """Have a tool server started where there is none."""
        if self._link.is_up:
            return None
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start(), name=f"start of {self._agent_id}")
            self._starting.add_done_callback(_looked_at)
        return self._starting

    async def _ready(self) -> None:
        """Wait for a tool server. A turn that is cancelled meanwhile does not stop its start."""
        starting = self._prepare()
        if starting is not None:
            await asyncio.shield(starting)

    async def _start(self) -> None:
        """Raises LinkLostError, or ModelFailure with the host's words."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._tools.ready_seconds
        action: ContainerAction = "replace" if self._was_up else "start"
        while True:
            death = await self._client.ask_container(self._agent_id, action)
            if death is not None:
                self._deaths.append(death)
            try:
                await self._link.hello(_LOOK_AGAIN_SECONDS)
            except LinkLostError as error:
                if loop.time() > give_up:
                    self._was_up = True
                    seconds = self._tools.ready_seconds
                    message = f"its tool server was not ready within {seconds:g} s"
                    raise LinkLostError(message) from error
                action = "start"
            else:
                self._was_up = True
                return

    def _seconds(self, tool: str, arguments: dict[str, JsonValue]) -> float:
        """Return how long a call may take: what it asks for and a little more, within bounds."""
        asked = arguments.get("timeout") if tool in self._tools.names else None
        if isinstance(asked, int | float) and asked > 0:
            return min(float(asked), MAX_CALL_SECONDS) + GRACE_SECONDS
        return self._tools.call_seconds

    def _news(self) -> str:
        """Return what the agent has not been told of its container's deaths."""
        untold = self._deaths[self._told :]
        self._told = len(self._deaths)
        return f"[{untold[-1]}. {_MADE_ANEW}]\n" if untold else ""

    async def _explained(self, error: LinkLostError, deaths: int) -> str:
        """Return why a call was lost, once there is a container again."""
        try:
            await self._ready()
        except (LinkLostError, ModelFailure) as failure:
            return f"{error}; the agent's container cannot be made anew: {failure}"
        self._told = len(self._deaths)
        why = self._deaths[deaths] if len(self._deaths) > deaths else ""
        said = f"{error}. {why}" if why else str(error)
        return f"{said}. The call was not finished. {_MADE_ANEW}"


def _looked_at(task: asyncio.Task[None]) -> None:
    """Mark a task's error as seen: a start that nobody waits for may fail, the call tries again."""
    if not task.cancelled():
        task.exception()


def _refused(text: str) -> Result:
    return Result(id=1, text=text, is_error=True)
