"""Tools for models that call them badly: by choice, then arguments. Runs on: the run container.

The model chooses one of a few names under a JSON schema; for a tool it is then asked for the
arguments under the tool's own schema, and for a file's content as plain text. What the tool
returned goes into the conversation as text. One tool at a time, few of them, short results.
"""

from collections.abc import Mapping
from typing import Any

from runner.contract.builtin_tools import BUILTIN_TOOLS
from runner.contract.text import encodable
from runner.coordination.acting.context import middle_cut
from runner.coordination.acting.hands import Hands, ReadyCall
from runner.coordination.acting.loop import Ask, Worked
from runner.coordination.models.decisions import (
    choice_of,
    choice_schema,
    json_object,
    object_schema,
    unfenced,
)
from runner.coordination.models.stream import (
    AssistantMessage,
    JsonObject,
    Message,
    Reply,
    Request,
    Tool,
    UserMessage,
    json_text,
)

FEW_TOOLS = ("write_file", "read_file", "list_directory", "execute_command")
"""The built-in tools that are offered by choice, in this order; others confuse small models."""
MAX_TOOLS = 8
MAX_ARGUMENT_CHARS = 400
"""Of a string: without a length a small model may ramble until its tokens are used up."""
MAX_RESULT_CHARS = 3000
MAX_SHOWN_CHARS = 300
_PLAIN: Mapping[str, str] = {"write_file": "content"}
"""The argument that is asked for as plain text: small models break long JSON strings."""
_REPEATED = "You have just done exactly this. Choose what is still missing, or finish."


class Chooser:
    """Lets a model act by choice during one turn."""

    def __init__(self, ask: Ask, hands: Hands) -> None:
        self._ask = ask
        self._hands = hands
        self._last: tuple[str, str] | None = None

    async def work(self, request: Request, decisions: tuple[str, ...]) -> Worked:
        """Return the first reply that chooses no tool: one of `decisions`, or nonsense."""
        tools = {tool.name: tool for tool in few_tools(await self._hands.offered())}
        messages, has_acted = request.messages, False
        while True:
            names = () if self._hands.is_over else tuple(tools)
            schema = choice_schema((*names, *decisions))
            reply = await self._ask(request._replace(messages=messages, schema=schema))
            chosen = choice_of(reply)
            if chosen not in names:
                return Worked(reply, messages, has_acted)
            before = (*messages, AssistantMessage(encodable(reply.text)))
            tool = tools[chosen]
            arguments = await self._arguments(request, before, tool)
            if isinstance(arguments, str):
                return Worked(reply, messages, has_acted, arguments)
            messages = (*before, await self._result(tool, arguments))
            has_acted = True

    async def _arguments(
        self, request: Request, messages: tuple[Message, ...], tool: Tool
    ) -> JsonObject | str:
        """Return a tool's arguments, or what to tell the model instead of calling it."""
        schema = short_schema(tool)
        arguments: JsonObject = {}
        if schema["properties"]:
            wanted = ", ".join(schema["properties"])
            asked = f"You chose {tool.name}: {tool.description}\nGive its arguments: {wanted}."
            reply = await self._told(request, messages, asked, schema)
            given = json_object(unfenced(reply.text))
            if given is None:
                return f"The arguments of {tool.name} were no JSON object."
            arguments = {name: given[name] for name in schema["properties"] if name in given}
        if plain := _PLAIN.get(tool.name):
            reply = await self._told(request, messages, _wanted_text(tool, arguments), None)
            arguments[plain] = fence_content(reply.text)
        call = (tool.name, json_text(arguments))
        if call == self._last:
            return _REPEATED
        self._last = call
        return arguments

    async def _told(
        self,
        request: Request,
        messages: tuple[Message, ...],
        asked: str,
        schema: JsonObject | None,
    ) -> Reply:
        told = (*messages, UserMessage(asked))
        return await self._ask(request._replace(messages=told, schema=schema))

    async def _result(self, tool: Tool, arguments: JsonObject) -> UserMessage:
        [result] = await self._hands.carry_out([ReadyCall("1", tool.name, arguments)])
        did = middle_cut(encodable(json_text(arguments)), MAX_SHOWN_CHARS)
        text = middle_cut(result.text, MAX_RESULT_CHARS)
        return UserMessage(f"{tool.name} {did} returned:\n{text}\n\nWhat next?", is_result=True)


def few_tools(offered: tuple[Tool, ...]) -> tuple[Tool, ...]:
    """Return the few tools that a small model is offered: the plainest, then those of the user."""
    by_name = {tool.name: tool for tool in offered}
    plain = [by_name[name] for name in FEW_TOOLS if name in by_name]
    others = [tool for tool in offered if tool.name not in BUILTIN_TOOLS]
    return tuple([*plain, *others][:MAX_TOOLS])


def short_schema(tool: Tool) -> JsonObject:
    """Return the schema of what a tool needs: no options, no long text, all strings bounded."""
    needed = [name for name in tool.parameters.get("required", []) if isinstance(name, str)]
    properties = tool.parameters.get("properties", {})
    parts = {
        name: _bounded(properties[name])
        for name in needed
        if name in properties and name != _PLAIN.get(tool.name)
    }
    schema = object_schema(**parts)
    if "$defs" in tool.parameters:
        schema["$defs"] = tool.parameters["$defs"]
    return schema


def _bounded(part: Any) -> JsonObject:
    if not isinstance(part, dict):
        return {}
    if part.get("type") != "string" or "enum" in part:
        return part
    longest = part.get("maxLength")
    length = min(longest, MAX_ARGUMENT_CHARS) if isinstance(longest, int) else MAX_ARGUMENT_CHARS
    return {**part, "maxLength": length}


def _wanted_text(tool: Tool, arguments: JsonObject) -> str:
    return (
        f"You chose {tool.name} {json_text(arguments)}. Write the {_PLAIN[tool.name]} now, "
        "whole, as plain text: nothing before it, nothing after it, no explanation."
    )


def fence_content(text: str) -> str:
    """Return what a file is to hold: the only Markdown fence of a reply, or all of it.

    A text file ends with a line end.
    """
    lines = text.strip("\n").split("\n")
    fences = [number for number, line in enumerate(lines) if line.strip().startswith("```")]
    if len(fences) == 2 and lines[fences[1]].strip() == "```":
        lines = lines[fences[0] + 1 : fences[1]]
    content = "\n".join(lines)
    return f"{content}\n" if content else ""
