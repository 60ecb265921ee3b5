"""Tools for models that call them badly: by choice, then arguments. Runs on: the run container.

The model chooses one of a few names under a JSON schema; for a tool it is then asked for the
arguments under the tool's own schema, and for a file's content as plain text. Each request is one
message: the question, what was done so far, and what to say now. Small models repeat their own
earlier replies where they are shown as a conversation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from runner.contract.builtin_tools import BUILTIN_TOOLS
from runner.contract.text import encodable, one_line
from runner.coordination.acting.context import fitted, middle_cut
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

FEW_TOOLS: Mapping[str, str] = {
    "write_file": "make a file, or replace it",
    "read_text_file": "see what is in a file",
    "list_directory": "see which files there are",
    "execute_command": "run a shell command",
}
"""The built-in tools that are offered by choice, in short; others confuse small models."""
MAX_TOOLS = 8
MAX_ARGUMENT_CHARS = 400
"""Of a string: without a length a small model may ramble until its tokens are used up."""
MAX_RESULT_CHARS = 3000
MAX_SHOWN_CHARS = 300
_PLAIN: Mapping[str, str] = {"write_file": "content"}
"""The argument that is asked for as plain text: small models break long JSON strings."""
_WRITER = (
    "You are given a task and one file of it to write. Your whole reply is saved as that file."
)
_NOTHING = "Nothing yet. The workspace is as it was at the start."


class Chooser:
    """Lets a model act by choice during one turn."""

    def __init__(self, ask: Ask, hands: Hands, window_chars: int) -> None:
        self._ask = ask
        self._hands = hands
        self._window_chars = window_chars
        self._done: list[tuple[str, str]] = []
        self._goes_in_circles = False

    async def work(self, request: Request, decisions: Mapping[str, str]) -> Worked:
        """Return the first reply that chooses no tool: one of `decisions`, or nonsense.

        `decisions` are names with what choosing them means.
        """
        tools = {tool.name: tool for tool in few_tools(await self._hands.offered())}
        messages, has_acted = request.messages, False
        while True:
            is_over = self._hands.is_over or self._goes_in_circles
            names = {} if is_over else {name: _about(tools[name]) for name in tools}
            choices = {**names, **decisions}
            asked = request._replace(messages=messages)
            reply = await self._told(asked, _choice(choices), choice_schema(tuple(choices)))
            chosen = choice_of(reply)
            if chosen not in names:
                return Worked(reply, messages, has_acted)
            before = (*messages, AssistantMessage(encodable(reply.text)))
            tool = tools[chosen]
            arguments = await self._arguments(asked, tool)
            if isinstance(arguments, str):
                return Worked(reply, messages, has_acted, arguments)
            if self._repeats(tool, arguments):
                continue
            messages = (*before, await self._result(tool, arguments))
            has_acted = True

    async def _arguments(self, request: Request, tool: Tool) -> JsonObject | str:
        """Return a tool's arguments, or what to tell the model instead of calling it."""
        schema = short_schema(tool)
        arguments: JsonObject = {}
        if schema["properties"]:
            wanted = ", ".join(schema["properties"])
            asked = (
                f"You chose {tool.name}: {tool.description}\n"
                f"Reply with its arguments as one JSON object: {wanted}."
            )
            reply = await self._told(request, asked, schema)
            given = json_object(unfenced(reply.text))
            if given is None:
                return f"The arguments of {tool.name} were no JSON object."
            arguments = {name: given[name] for name in schema["properties"] if name in given}
        if plain := _PLAIN.get(tool.name):
            reply = await self._ask(_content_request(request, str(arguments.get("path"))))
            arguments[plain] = fence_content(reply.text)
        return arguments

    def _repeats(self, tool: Tool, arguments: JsonObject) -> bool:
        """Tell whether a call was made before, and nothing since that was not made before too.

        Small models do not see that they are done: from then on only decisions are offered.
        """
        call = (tool.name, json_text(arguments))
        self._goes_in_circles = goes_in_circles(self._done, call)
        self._done.append(call)
        return self._goes_in_circles

    async def _told(self, request: Request, asked: str, schema: JsonObject | None) -> Reply:
        short = fitted(request, self._window_chars)
        return await self._ask(short._replace(messages=flat(short.messages, asked), schema=schema))

    async def _result(self, tool: Tool, arguments: JsonObject) -> UserMessage:
        [result] = await self._hands.carry_out([ReadyCall("1", tool.name, arguments)])
        did = middle_cut(encodable(json_text(arguments)), MAX_SHOWN_CHARS)
        text = middle_cut(result.text, MAX_RESULT_CHARS)
        return UserMessage(f"{tool.name} {did} returned:\n{text}", is_result=True)


def goes_in_circles(done: Sequence[tuple[str, str]], call: tuple[str, str]) -> bool:
    """Tell whether `call` was made before, and since then only calls made before that too."""
    if call not in done:
        return False
    last = len(done) - 1 - done[::-1].index(call)
    return all(later in done[:last] for later in done[last + 1 :])


def flat(messages: Sequence[Message], asked: str) -> tuple[Message, ...]:
    """Return one message: the question, what was done, the last reminder, and what is asked."""
    first, *later = (m for m in messages if isinstance(m, UserMessage))
    done = [message.text for message in later if message.is_result]
    notes = [later[-1].text] if later and not later[-1].is_result else []
    parts = (first.text, _done(done), *notes, f"NOW\n{asked}")
    return (UserMessage("\n\n".join(parts)),)


def _done(results: Sequence[str]) -> str:
    work = "\n\n".join(f"{n}. {text}" for n, text in enumerate(results, start=1))
    return f"DONE SO FAR\n{work or _NOTHING}"


def _content_request(request: Request, path: str) -> Request:
    """Return the request for a file's content: apart from the rest, or small models mix it in.

    Of what was done, the last thing is shown that is not itself a file that was written: the
    error to mend, the text to change.
    """
    first, *later = (m for m in request.messages if isinstance(m, UserMessage))
    seen = [m.text for m in later if m.is_result and not m.text.startswith(tuple(_PLAIN))]
    asked = (
        f"FILE\n{path}\n\nReply with exactly what {path} has to contain, in one fenced code block."
    )
    parts = (*map(_done, [seen[-1:]] if seen else []), f"TASK\n{first.text}", asked)
    return Request(_WRITER, (UserMessage("\n\n".join(parts)),))


def _choice(choices: Mapping[str, str]) -> str:
    listed = "\n".join(f"- {name}: {about}" for name, about in choices.items())
    return (
        "Which tool comes next? Reply with one JSON object: reason says in one sentence what the "
        f"next step is; choice is one of:\n{listed}"
    )


def _about(tool: Tool) -> str:
    return FEW_TOOLS.get(tool.name) or one_line(tool.description, 100)


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


def fence_content(text: str) -> str:
    """Return what a file is to hold: the only fenced block of a reply, or all of it.

    A text file ends with a line end.
    """
    lines = text.strip("\n").split("\n")
    fences = [number for number, line in enumerate(lines) if line.lstrip().startswith("```")]
    is_whole = bool(fences) and fences[0] == 0 and lines[-1].strip() == "```"
    if len(fences) == 2 or (is_whole and len(fences) > 2):
        lines = lines[fences[0] + 1 : fences[-1]]
    content = "\n".join(lines)
    return f"{content}\n" if content else ""
