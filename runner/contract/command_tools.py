"""The tools that run commands, as models are told of them. Runs on: both sides."""

from typing import Annotated

from pydantic import Field

from runner.contract.tool_models import ToolArguments, definition


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
    work_dir: Annotated[
        str | None,
        Field(
            description="Working directory, absolute or of the workspace; by default the workspace."
        ),
    ] = None


EXECUTE_COMMAND = definition("execute_command", ExecuteCommand)

COMMAND_TOOLS = (EXECUTE_COMMAND,)
