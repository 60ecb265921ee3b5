"""What a built-in tool is to the tool server. Runs on: the agent container."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

from pydantic import JsonValue, ValidationError

from runner.contract.text import one_line
from runner.contract.tool_models import ToolArguments
from runner.contract.tools import Image

Emit = Callable[[str], None]
"""Takes text that a call prints while it runs."""

Arguments = TypeVar("Arguments", bound=ToolArguments)


class ToolError(Exception):
    """A call that the tool cannot carry out; the message tells the model why."""


class Answer(NamedTuple):
    """What a call returns; a command that fails is an answer, not a ToolError."""

    text: str
    is_error: bool = False
    exit_code: int | None = None
    images: tuple[Image, ...] = ()


Tool = Callable[[Mapping[str, JsonValue], Emit], Awaitable[Answer]]
"""Carries one call out; it is cancelled when nobody waits for it any more. Raises ToolError."""


def tool(model: type[Arguments], carry_out: Callable[[Arguments, Emit], Awaitable[Answer]]) -> Tool:
    """Return a tool whose arguments are checked before it is called."""

    async def checked(arguments: Mapping[str, JsonValue], emit: Emit) -> Answer:
        try:
            given = model.model_validate(arguments)
        except ValidationError as error:
            raise ToolError(_problems(error)) from error
        return await carry_out(given, emit)

    return checked


def _problems(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)[:5]
    said = [f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}" for item in found]
    return one_line("; ".join(said), 1000)
