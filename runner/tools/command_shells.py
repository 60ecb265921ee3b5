"""An agent's commands in the background. Runs on: the agent container.

Their states are those of the host's BackgroundShellManager; what watches over them is what watches
over other commands, so that the end of a shell, or of the tool server, ends all that it started.
"""

import asyncio
import datetime as dt
import secrets
import time
from typing import Literal

from pydantic import JsonValue

from runner.contract.text import printable
from runner.tools.calls import ToolError
from runner.tools.command_process import Ended, Order, not_started, start_command

MAX_CONCURRENT = 10
_MAX_ENDED = 50
"""How many ended shells are remembered."""
_KEPT_BYTES = 20_000
"""Of each stream: its end."""

State = Literal["running", "stopped", "failed", "killed"]


class LastOutput:
    """The end of what a stream has brought."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._total = 0

    def feed(self, data: bytes) -> None:
        self._total += len(data)
        self._kept += data[-_KEPT_BYTES:]
        if len(self._kept) > 2 * _KEPT_BYTES:
            del self._kept[:-_KEPT_BYTES]

    def text(self) -> str:
        kept = self._kept[-_KEPT_BYTES:]
        earlier = self._total - len(kept)
        note = f"[... {earlier:,} earlier bytes are not kept ...]\n" if earlier else ""
        return note + printable(kept.decode("utf-8", "replace"))


class _Shell:
    """One command in the background, and what it has printed."""

    def __init__(self, order: Order) -> None:
        self.id = f"shell_{secrets.token_hex(4)}"
        self._order = order
        self._outputs = {"stdout": LastOutput(), "stderr": LastOutput()}
        self._start_time = dt.datetime.now().astimezone()
        self._began = time.monotonic()
        self._duration: float | None = None
        self._is_killed = False
        self._ended: Ended | None = None

    async def start(self) -> None:
        """Start it. Raises ToolError."""
        outputs = self._outputs.values()
        self._command = await start_command(self._order, *(output.feed for output in outputs))
        await self._command.started()
        if self._command.pid is None:
            ended = await self._command.ended()
            raise ToolError(not_started(self._order, ended.errno, ended.error))
        self._watched = asyncio.create_task(self._watch(), name=self.id)

    async def _watch(self) -> None:
        ended = await self._command.ended()
        self._duration = time.monotonic() - self._began
        self._ended = ended

    @property
    def is_running(self) -> bool:
        return self._ended is None

    @property
    def _exit_code(self) -> int | None:
        return None if self._ended is None else self._ended.exit_code

    def _state(self) -> State:
        if self.is_running:
            return "running"
        code = self._exit_code
        if self._is_killed or code is None or code < 0:
            return "killed"
        return "failed" if code else "stopped"

    def output(self) -> dict[str, JsonValue]:
        return {
            "shell_id": self.id,
            **{name: output.text() for name, output in self._outputs.items()},
            "status": self._state(),
            "exit_code": self._exit_code,
        }

    def status(self) -> dict[str, JsonValue]:
        lasted = self._duration if self._duration is not None else time.monotonic() - self._began
        return {
            "shell_id": self.id,
            "status": self._state(),
            "exit_code": self._exit_code,
            "pid": self._command.pid,
            "command": self._order.command,
            "cwd": str(self._order.directory),
            "start_time": self._start_time.isoformat(),
            "duration_seconds": round(lasted, 2),
        }

    async def kill(self) -> dict[str, JsonValue]:
        if not self.is_running:
            return {
                "shell_id": self.id,
                "status": self._state(),
                "signal": None,
                "message": "Process already terminated",
            }
        self._is_killed = True
        await self._command.end()
        await self._watched
        return {"shell_id": self.id, "status": "killed", "signal": "SIGTERM"}


class BackgroundShells:
    """The background shells of one agent."""

    def __init__(self) -> None:
        self._shells: dict[str, _Shell] = {}
        self._starting = asyncio.Lock()

    async def start(self, order: Order) -> dict[str, JsonValue]:
        """Start a command. Raises ToolError."""
        async with self._starting:
            if sum(shell.is_running for shell in self._shells.values()) >= MAX_CONCURRENT:
                raise ToolError(
                    f"Maximum concurrent shells ({MAX_CONCURRENT}) reached: end one first "
                    "(list_background_shells, kill_background_shell)"
                )
            shell = _Shell(order)
            await shell.start()
            self._shells[shell.id] = shell
            self._forget()
        return shell.status()

    def _forget(self) -> None:
        ended = [name for name, shell in self._shells.items() if not shell.is_running]
        for name in ended[: -_MAX_ENDED or None]:
            del self._shells[name]

    def output(self, shell_id: str) -> dict[str, JsonValue]:
        """Return what a shell has printed. Raises ToolError for an unknown one."""
        return self._known(shell_id).output()

    def status(self, shell_id: str) -> dict[str, JsonValue]:
        """Return what a shell does. Raises ToolError for an unknown one."""
        return self._known(shell_id).status()

    async def kill(self, shell_id: str) -> dict[str, JsonValue]:
        """End a shell with all that it started. Raises ToolError for an unknown one."""
        return await self._known(shell_id).kill()

    def all(self) -> list[JsonValue]:
        """Return the status of every shell, in the order of their start."""
        return [shell.status() for shell in self._shells.values()]

    def _known(self, shell_id: str) -> _Shell:
        shell = self._shells.get(shell_id)
        if shell is None:
            raise ToolError(
                f"there is no background shell {shell_id[:64]!r}; list_background_shells lists them"
            )
        return shell
