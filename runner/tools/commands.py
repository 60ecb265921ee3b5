"""Run an agent's commands. Runs on: the agent container."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from runner.contract.command_tools import ExecuteCommand
from runner.contract.tools import CommandSettings
from runner.tools.calls import Answer, Emit, Tool, ToolError, tool

_READ_BYTES = 64 * 1024


def command_tools(settings: CommandSettings, workspace: Path) -> dict[str, Tool]:
    """Return the tools that run commands, by name."""

    async def execute(arguments: ExecuteCommand, emit: Emit) -> Answer:
        return await execute_command(arguments, emit, settings, workspace)

    return {"execute_command": tool(ExecuteCommand, execute)}


async def execute_command(
    arguments: ExecuteCommand, emit: Emit, settings: CommandSettings, workspace: Path
) -> Answer:
    """Run a command in a process group of its own and wait for its end or its time limit."""
    directory = workspace / (arguments.work_dir or "")
    limit = arguments.timeout or settings.timeout_seconds
    began = time.monotonic()
    try:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            arguments.command,
            cwd=directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(f"{directory}: {error.strerror}") from error
    pieces: list[str] = []
    try:
        async with asyncio.timeout(limit):
            await _read(process, pieces, emit)
            await process.wait()
    except TimeoutError:
        pieces.append(f"\n[ended: longer than {limit:g} s]")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    code = await process.wait()
    took = time.monotonic() - began
    text = f"{''.join(pieces)}\n[exit code {code}, {took:.1f} s]"
    return Answer(text, is_error=code != 0, exit_code=code)


async def _read(process: asyncio.subprocess.Process, pieces: list[str], emit: Emit) -> None:
    assert process.stdout is not None  # noqa: S101  # for the type checker
    while data := await process.stdout.read(_READ_BYTES):
        text = data.decode("utf-8", "replace")
        pieces.append(text)
        emit(text)
