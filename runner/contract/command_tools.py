"""The tools that run commands, as models are told of them. Runs on: both sides."""

from typing import Annotated

from pydantic import Field

from runner.contract.tool_models import ToolArguments, definition


class ExecuteCommand(ToolArguments):
    """Run a shell command and wait for it; returns its output and exit code."""

    command: Annotated[str, Field(min_length=1, description="The command, for /bin/sh.")]
    timeout: Annotated[
        float | None,
        Field(gt=0, le=86_400, description="Seconds after which the command is ended."),
    ] = None
    work_dir: Annotated[
        str | None, Field(description="Working directory; by default the workspace.")
    ] = None


EXECUTE_COMMAND = definition("execute_command", ExecuteCommand)

COMMAND_TOOLS = (EXECUTE_COMMAND,)
