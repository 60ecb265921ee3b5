"""Arguments of built-in tools as models, and the definitions made of them. Runs on: both sides."""

import inspect

from pydantic import BaseModel, ConfigDict

from runner.contract.tools import ToolDefinition


class ToolArguments(BaseModel):
    """Arguments of one tool; the docstring is what models are told the tool does."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def definition(name: str, arguments: type[ToolArguments]) -> ToolDefinition:
    """Return the definition of a built-in tool."""
    schema = arguments.model_json_schema()
    properties = {key: _without_title(part) for key, part in schema.get("properties", {}).items()}
    parameters = {
        "type": "object",
        "properties": properties,
        "required": schema.get("required", []),
        "additionalProperties": False,
    }
    if "$defs" in schema:
        parameters["$defs"] = schema["$defs"]
    description = inspect.cleandoc(arguments.__doc__ or "")
    return ToolDefinition(name=name, description=description, parameters=parameters)


def _without_title(part: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in part.items() if key != "title"}
