"""Hold a container still for a while, and let go whatever happens. Runs on: host."""

import asyncio
from contextlib import suppress

from runner.contract.run_socket import HOLD_SECONDS
from runner.errors import RunnerError
from runner.host.engine import Engine


class Stillness:
    """Pauses one container at a time; an agent is not left paused by a coordination that died."""

    def __init__(self, engine: Engine, hold_seconds: float = HOLD_SECONDS) -> None:
        self._engine = engine
        self._hold_seconds = hold_seconds
        self._held: str | None = None
        self._deadline: asyncio.Task[None] | None = None

    async def hold(self, container_id: str) -> None:
        """Pause a container, or keep it paused for longer; one that is dead is still anyway.

        Raises RunnerError where the engine cannot do it.
        """
        self._forget_deadline()
        self._held = container_id
        self._deadline = asyncio.create_task(self._let_go_later())
        await asyncio.to_thread(self._engine.pause, container_id)

    async def let_go(self) -> None:
        """Let a paused container go on. Raises RunnerError where the engine cannot do it."""
        self._forget_deadline()
        held, self._held = self._held, None
        if held is not None:
            await asyncio.to_thread(self._engine.unpause, held)

    async def _let_go_later(self) -> None:
        await asyncio.sleep(self._hold_seconds)
        self._deadline = None
        with suppress(RunnerError):
            await self.let_go()

    def _forget_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()
