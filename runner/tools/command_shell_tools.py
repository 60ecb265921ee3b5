"""The tools for commands in the background. Runs on: the agent container."""

import json
from pathlib import Path

from pydantic import JsonValue

from runner.contract.command_tools import (
    GetBackgroundShellOutput,
    GetBackgroundShellStatus,
    KillBackgroundShell,
    ListBackgroundShells,
    StartBackgroundShell,
)
from runner.contract.tools import CommandSettings
from runner.tools.calls import Answer, Emit, Tool, tool
from runner.tools.command_environment import order
from runner.tools.command_shells import BackgroundShells


def shell_tools(settings: CommandSettings, workspace: Path) -> dict[str, Tool]:
    """Return the tools for commands in the background, by name."""
    shells = BackgroundShells()

    async def start(arguments: StartBackgroundShell, _: Emit) -> Answer:
        wanted = order(settings, workspace, arguments.command, arguments.work_dir)
        return _answer(await shells.start(wanted))

    async def output(arguments: GetBackgroundShellOutput, _: Emit) -> Answer:
        return _answer(shells.output(arguments.shell_id))

    async def status(arguments: GetBackgroundShellStatus, _: Emit) -> Answer:
        return _answer(shells.status(arguments.shell_id))

    async def kill(arguments: KillBackgroundShell, _: Emit) -> Answer:
        return _answer(await shells.kill(arguments.shell_id))

    async def listed(_arguments: ListBackgroundShells, _: Emit) -> Answer:
        return _answer({"shells": shells.all()})

    return {
        "start_background_shell": tool(StartBackgroundShell, start),
        "get_background_shell_output": tool(GetBackgroundShellOutput, output),
        "get_background_shell_status": tool(GetBackgroundShellStatus, status),
        "kill_background_shell": tool(KillBackgroundShell, kill),
        "list_background_shells": tool(ListBackgroundShells, listed),
    }


def _answer(said: dict[str, JsonValue]) -> Answer:
    return Answer(json.dumps(said, indent=2, ensure_ascii=False))
