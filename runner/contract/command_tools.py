"""The tools that run commands, as models are told of them. Runs on: both sides."""

from typing import Annotated

from pydantic import Field

from runner.contract.tool_models import ToolArguments, definition

WorkDir = Annotated[
    str | None,
    Field(description="Working directory, absolute or of the workspace; by default the workspace."),
]
ShellId = Annotated[str, Field(description="As start_background_shell returned it.")]


class ExecuteCommand(ToolArguments):
    """Run a shell command and wait for its end; returns its output, errors included, and exit code.

    It has no input. What it leaves running is ended with it: see start_background_shell. Of a long
    output you get beginning and end, and the name of a file that has the whole.
    """

    command: Annotated[str, Field(min_length=1, description="The command, for /bin/sh.")]
    timeout: Annotated[
        float | None,
        Field(gt=0, le=86_400, description="Seconds after which it is ended; by default 60."),
    ] = None
    work_dir: WorkDir = None


class StartBackgroundShell(ToolArguments):
    """Start a shell command that goes on in the background, such as a server; returns its shell_id.

    At most ten run at once. They end with your container, not with your turn.
    """

    command: Annotated[str, Field(min_length=1, description="The command, for /bin/sh.")]
    work_dir: WorkDir = None


class GetBackgroundShellOutput(ToolArguments):
    """Return what a background shell has printed, the end of it where it is long, and its state."""

    shell_id: ShellId


class GetBackgroundShellStatus(ToolArguments):
    """Return a background shell's state (running, stopped, failed, killed) and exit code."""

    shell_id: ShellId


class KillBackgroundShell(ToolArguments):
    """End a background shell with all that it started."""

    shell_id: ShellId


class ListBackgroundShells(ToolArguments):
    """Return the state of every background shell."""


EXECUTE_COMMAND = definition("execute_command", ExecuteCommand)

COMMAND_TOOLS = (
    EXECUTE_COMMAND,
    definition("start_background_shell", StartBackgroundShell),
    definition("get_background_shell_output", GetBackgroundShellOutput),
    definition("get_background_shell_status", GetBackgroundShellStatus),
    definition("kill_background_shell", KillBackgroundShell),
    definition("list_background_shells", ListBackgroundShells),
)
