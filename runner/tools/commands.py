"""The tools that run an agent's commands. Runs on: the agent container."""

import asyncio
import time
from pathlib import Path

from runner.contract.command_tools import ExecuteCommand
from runner.contract.tools import CommandSettings
from runner.tools.calls import Answer, Emit, Tool, ToolError, tool
from runner.tools.command_ends import Circumstances, exit_code, explained, oom_kills
from runner.tools.command_environment import order
from runner.tools.command_output import KeptOutput, LiveOutput, OutputFiles
from runner.tools.command_process import Command, Ended, Order, not_started, start_command
from runner.tools.command_shell_tools import shell_tools


def command_tools(settings: CommandSettings, workspace: Path) -> dict[str, Tool]:
    """Return the tools that run commands, by name."""
    files = OutputFiles()

    async def execute(arguments: ExecuteCommand, emit: Emit) -> Answer:
        wanted = order(settings, workspace, arguments.command, arguments.work_dir)
        limit = arguments.timeout or settings.timeout_seconds
        return await execute_command(wanted, limit, settings.memory_limit, files, emit)

    return {
        "execute_command": tool(ExecuteCommand, execute),
        **shell_tools(settings, workspace),
    }


async def execute_command(
    wanted: Order, limit: float, memory_limit: str | None, files: OutputFiles, emit: Emit
) -> Answer:
    """Run a command to its end, or for `limit` seconds. Raises ToolError where it cannot start."""
    kept, live = KeptOutput(files), LiveOutput(emit)

    def feed(data: bytes) -> None:
        kept.feed(data)
        live.feed(data)

    began, killed = time.monotonic(), oom_kills()
    try:
        command = await start_command(wanted, feed)
        ended, is_late = await _within(limit, command)
    finally:
        kept.close()
        live.close()
    if ended.error is not None:
        raise ToolError(not_started(wanted, ended.errno, ended.error))
    circumstances = Circumstances(
        seconds=time.monotonic() - began,
        timed_out_after=limit if is_late else None,
        is_out_of_memory=oom_kills() > killed,
        memory_limit=memory_limit,
    )
    code = exit_code(ended, circumstances)
    text = f"{kept.text()}\n{explained(ended, circumstances)}".lstrip("\n")
    return Answer(text, is_error=code != 0, exit_code=code)


async def _within(limit: float, command: Command) -> tuple[Ended, bool]:
    """Wait for a command's end; end it after `limit` seconds, or where nobody waits any more."""
    try:
        async with asyncio.timeout(limit):
            return await command.ended(), False
    except TimeoutError:
        return await command.end(), True
    except asyncio.CancelledError:
        await command.end()
        raise
