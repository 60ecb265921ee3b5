"""Tools for models that call them badly: a choice, then its arguments. Runs on: host."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.contract.builtin_tools import BUILTIN_TOOLS
from runner.contract.spec import AgentSpec
from runner.coordination.acting.choosing import (
    FEW_TOOLS,
    MAX_ARGUMENT_CHARS,
    fence_content,
    few_tools,
    flat,
    goes_in_circles,
    short_schema,
)
from runner.coordination.models.stream import AssistantMessage, Tool, UserMessage
from tests.coordination.conftest import Run
from tests.support.provider import NewAnswer, Provider, Reply, Rule, Script, Text, forever
from tests.support.workshop import Workshop


@pytest.fixture
def workshop(tmp_path: Path, models: Provider) -> Iterator[Workshop]:
    """Real tool servers for the agents of a run."""
    with Workshop(tmp_path, models) as shop:
        yield shop


def members(workshop: Workshop, *ids: str, **settings: Any) -> tuple[AgentSpec, ...]:
    return workshop.members(*ids, decision_mode="json_schema", **settings)


def choice(name: str) -> Text:
    return Text(json.dumps({"reason": "It is next.", "choice": name}))


def command(text: str) -> tuple[Reply, Reply]:
    """The two replies that run a command."""
    return choice("execute_command"), Text(json.dumps({"command": text}))


def play(models: Provider, *replies: Reply) -> None:
    """Let the model of `a` say these, then cooperate; that of `b` fails, so it restarts nobody."""
    said = Rule(replies, model="model-a", last_repeats=False)
    models.play(Script(rules=(said, Rule((forever(401),), model="model-b"))))


def test_a_lone_agent_acts_by_choice(models: Provider, run: Run, workshop: Workshop) -> None:
    """It chooses a tool, gives the arguments under their schema, and writes when it is done."""
    play(models, *command("echo made > file; cat file"), choice("answer"), Text("It is made."))

    ended = run(members(workshop, "a"))

    assert ended.exit_code == 0, ended.stderr
    assert (workshop.workspace("a") / "file").read_text() == "made\n"
    assert (ended.layout.root / "final/a/answer.txt").read_text() == "It is made."
    schemas = [json.loads(r.body).get("response_format") for r in models.requests]
    chosen, given_, _, text = [s and s["json_schema"]["schema"]["properties"] for s in schemas]
    assert chosen["choice"]["enum"] == ["execute_command", "answer"]
    assert given_["command"]["maxLength"] == MAX_ARGUMENT_CHARS
    assert text is None
    assert "returned:\nmade" in models.requests[-1].body.decode().replace("\\n", "\n")


def test_an_agent_among_others_acts_and_then_decides(
    models: Provider, run: Run, workshop: Workshop
) -> None:
    """Its choices are the tools and what may be decided; the answer is asked for as text."""
    play(models, *command("touch made"), choice("new_answer"), NewAnswer("It is made."))

    ended = run(members(workshop, "a", "b"))

    assert ended.exit_code == 0, ended.stderr
    assert (workshop.workspace("a") / "made").exists()
    [answer] = [e["data"] for e in ended.events if e["event_type"] == "new_answer"]
    assert "It is made." in str(answer)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(choice("rm_rf"), id="no-such-choice"),
        pytest.param(Text("I would say yes."), id="text"),
        pytest.param(Text("[1"), id="no-json"),
    ],
)
def test_a_model_that_never_chooses_fails(
    models: Provider, run: Run, workshop: Workshop, reply: Reply
) -> None:
    """Nonsense in place of a choice is answered with reminders, and then it is over."""
    models.always(reply)

    ended = run(members(workshop, "a"))

    assert ended.exit_code == 2
    assert len(models.requests) == 4


def test_going_in_circles_ends_the_work(models: Provider, run: Run, workshop: Workshop) -> None:
    """A call that was just made is not made again: from then on only decisions are offered."""
    play(models, *command("echo x >> file"), *command("echo x >> file"), choice("answer"))

    ended = run(members(workshop, "a"))

    assert ended.exit_code == 0, ended.stderr
    assert (workshop.workspace("a") / "file").read_text() == "x\n"
    last_choice = json.loads(models.requests[4].body)["response_format"]["json_schema"]["schema"]
    assert last_choice["properties"]["choice"]["enum"] == ["answer"]


def test_what_counts_as_going_in_circles() -> None:
    """Again after something new is progress; again after a repetition, or at once, is none."""
    write, read, other = ("write", "{}"), ("read", "{}"), ("write", '{"x": 1}')
    assert not goes_in_circles([], write)
    assert goes_in_circles([write], write)
    assert not goes_in_circles([read, write], read)
    assert goes_in_circles([write, read, write], read)
    assert not goes_in_circles([write, read, write, other], read)


def test_a_small_model_is_offered_few_tools() -> None:
    """Of the built-in tools only the plainest, before those of the user's own servers."""
    offered = tuple(Tool(name, "", {}) for name in ("mine", *BUILTIN_TOOLS))
    names = [tool.name for tool in few_tools(offered)]
    assert names == [*(name for name in FEW_TOOLS if name in BUILTIN_TOOLS), "mine"]
    assert "execute_command" in names


def test_arguments_are_asked_for_without_what_can_be_left_out() -> None:
    """Only what is required, every string with a length; a file's content is asked for apart."""
    properties = {
        "path": {"type": "string"},
        "content": {"type": "string"},
        "kind": {"enum": ["a"]},
        "option": {"type": "integer"},
    }
    tool = Tool(
        "write_file", "", {"properties": properties, "required": ["path", "content", "kind"]}
    )

    assert short_schema(tool)["properties"] == {
        "path": {"type": "string", "maxLength": MAX_ARGUMENT_CHARS},
        "kind": {"enum": ["a"]},
    }


def test_a_request_is_one_message() -> None:
    """The question, what was done in its order, the last reminder, what to say now."""
    said = (
        UserMessage("QUESTION\nWhy?"),
        AssistantMessage("{}"),
        UserMessage("ls returned: x", is_result=True),
        AssistantMessage("{}"),
        UserMessage("Choose."),
    )

    [only] = flat(said, "Which?")

    assert only == UserMessage(
        "QUESTION\nWhy?\n\nDONE SO FAR\n1. ls returned: x\n\nChoose.\n\nNOW\nWhich?"
    )


@pytest.mark.parametrize(
    ("reply", "content"),
    [
        ("hello", "hello\n"),
        ("```\nhello\n```", "hello\n"),
        ("Here it is:\n```python\nprint(1)\n```\nIt prints 1.", "print(1)\n"),
        ("```markdown\n# A\n```sh\nls\n```\nend\n```", "# A\n```sh\nls\n```\nend\n"),
        ("# A\n```sh\nls\n```\n```sh\nps\n```\nend", "# A\n```sh\nls\n```\n```sh\nps\n```\nend\n"),
        ("", ""),
    ],
)
def test_a_fence_around_a_file_is_no_part_of_it(reply: str, content: str) -> None:
    """Models put a file's content into a code block, with or without talk around it."""
    assert fence_content(reply) == content


@given(st.text(alphabet="a`\n ", max_size=40))
def test_any_reply_is_some_content(reply: str) -> None:
    """No reply breaks the reading, and a content ends with one line end of its own."""
    content = fence_content(reply)
    assert content == "" or content.endswith("\n")
