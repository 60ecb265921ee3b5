"""What a tool server says that it has, taken in bounds. Runs on: the run container.

An agent's programs can speak in its tool server's place: no tool passes for a decision or a
built-in one, and neither the model's requests nor the log are filled up.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from pydantic import ValidationError

from runner.contract.text import one_line
from runner.contract.tools import MAX_HELLO_BYTES, MCP_PREFIX, Hello, ToolDefinition
from runner.coordination.acting.frames import FrameError

MAX_TOOLS = 128
"""More than some providers take in all."""
MAX_DEFINITION_CHARS = 64_000
MAX_DEFINITIONS_CHARS = 400_000
"""Of all together: they go to the model with every call."""
MAX_PROBLEMS = 100
PROBLEM_CHARS = 1_000
_NAME = re.compile(rf"{MCP_PREFIX}[A-Za-z0-9_-]{{1,{64 - len(MCP_PREFIX)}}}")


class ServerTools(NamedTuple):
    """The tools of MCP servers, as far as they are taken."""

    definitions: tuple[ToolDefinition, ...]
    problems: tuple[str, ...]
    """Each is one line."""


def read_hello(line: bytes | bytearray) -> Hello:
    """Return a tool server's first frame. Raises FrameError."""
    if len(line) > MAX_HELLO_BYTES:
        raise FrameError(f"the first frame is longer than {MAX_HELLO_BYTES} bytes")
    try:
        hello = Hello.model_validate_json(line)
    except ValidationError as error:
        raise FrameError("the first frame is no Hello") from error
    if "kind" not in hello.model_fields_set:
        raise FrameError("the first frame does not say what it is")
    return hello


def server_tools(hello: Hello) -> ServerTools:
    """Return what an agent is offered of what its tool server says, and what is wrong with it."""
    definitions = _taken(hello.tools)
    problems = [one_line(problem, PROBLEM_CHARS) for problem in hello.problems[:MAX_PROBLEMS]]
    left_out = len(hello.tools) - len(definitions)
    if left_out:
        problems.append(
            f"tools of MCP servers that are left out, too many or too large: {left_out}"
        )
    return ServerTools(definitions, tuple(problems))


def _taken(tools: Iterable[ToolDefinition]) -> tuple[ToolDefinition, ...]:
    taken: dict[str, ToolDefinition] = {}
    room = MAX_DEFINITIONS_CHARS
    for tool in tools:
        if len(taken) == MAX_TOOLS or tool.name in taken or not _NAME.fullmatch(tool.name):
            continue
        size = len(tool.model_dump_json())
        if size <= min(room, MAX_DEFINITION_CHARS):
            taken[tool.name] = tool
            room -= size
    return tuple(taken.values())
