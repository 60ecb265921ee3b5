"""Agents that act: calls, limits, pictures, thinking, restarts. Runs on: host."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.contract.status import AgentErrorType
from runner.contract.tools import Call, Image, Result
from runner.coordination.acting.loop import OVER
from runner.coordination.models.stream import MAX_TOOL_CALLS
from tests.coordination.conftest import Run
from tests.coordination.processes import Running
from tests.support.provider import (
    Hold,
    LoggedRequest,
    NewAnswer,
    Provider,
    Reply,
    Rule,
    Script,
    Status,
    Text,
    ToolCall,
    ToolCalls,
    Vote,
    forever,
)
from tests.support.workshop import Workshop

DIALECTS = pytest.mark.parametrize("dialect", ["chat", "messages"])
PICTURE = Image(media_type="image/png", data="iVBORw0KGgo=")


def shell(*commands: str, thinking: str = "") -> ToolCalls:
    """A reply that runs commands, all at once."""
    calls = (ToolCall("execute_command", json.dumps({"command": text})) for text in commands)
    return ToolCalls(tuple(calls), thinking=thinking)


def play(models: Provider, *replies: Reply) -> None:
    """Let the model of `a` say these, then cooperate; that of `b` fails, so it restarts nobody."""
    said = Rule(replies, model="model-a", last_repeats=False)
    models.play(Script(rules=(said, Rule((forever(401),), model="model-b"))))


def results(request: LoggedRequest) -> list[str]:
    """Return the texts of all results of tools that a request carries."""
    found: list[str] = []
    for message in json.loads(request.body)["messages"]:
        if message["role"] == "tool":
            found.append(message["content"])
        parts = message["content"] if isinstance(message["content"], list) else []
        found += [_text(part["content"]) for part in parts if part["type"] == "tool_result"]
    return found


def _text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(b.get("text", "") for b in content)


def tools(request: LoggedRequest) -> list[str]:
    """Return the names of the tools that a request offers."""
    body = json.loads(request.body)
    return [tool.get("name") or tool["function"]["name"] for tool in body.get("tools", [])]


@pytest.fixture
def workshop(tmp_path: Path, models: Provider) -> Iterator[Workshop]:
    """Real tool servers for the agents of a run."""
    with Workshop(tmp_path, models) as shop:
        yield shop


@pytest.fixture
def scripted(tmp_path: Path, models: Provider) -> Iterator[Callable[..., Workshop]]:
    """Make tool servers that answer by script."""
    made: list[Workshop] = []

    def make(reply: Callable[[Call], Result | None]) -> Workshop:
        made.append(Workshop(tmp_path, models, reply))
        return made[-1]

    yield make
    for shop in made:
        shop.__exit__()


@DIALECTS
def test_calls_of_one_reply_run_side_by_side_and_come_back_in_order(
    models: Provider, run: Run, workshop: Workshop, dialect: str
) -> None:
    """The first call waits for the second, and its result is still the first."""
    first = "until test -e go; do sleep 0.05; done; echo first"
    play(models, shell(first, "touch go; echo second"))

    ended = run(workshop.members("a", dialect=dialect))

    assert ended.exit_code == 0, ended.stderr
    told = results(models.requests[-1])
    assert [text.split("\n")[0] for text in told] == ["first", "second"]


@DIALECTS
def test_half_a_character_in_the_arguments_is_replaced(
    models: Provider, run: Run, workshop: Workshop, dialect: str
) -> None:
    """What no file can hold and no socket carry reaches the tool as another character."""
    half = ToolCalls((ToolCall("execute_command", '{"command": "echo a\\ud800b"}'),))
    play(models, half)

    ended = run(workshop.members("a", dialect=dialect))

    assert ended.exit_code == 0, ended.stderr
    assert results(models.requests[-1])[0].startswith("a?b\n")


@DIALECTS
def test_a_decision_beside_other_calls_has_to_be_made_again(
    models: Provider, run: Run, workshop: Workshop, dialect: str
) -> None:
    """The command runs; the answer counts only once it comes alone."""
    early = ToolCall("new_answer", json.dumps({"content": "too early"}))
    mixed = ToolCalls((*shell("touch made").calls, early))
    play(models, mixed, NewAnswer("It is made."))

    ended = run(workshop.members("a", "b", dialect=dialect))

    assert ended.exit_code == 0, ended.stderr
    assert (workshop.workspace("a") / "made").exists()
    answers = [e["data"] for e in ended.events if e["event_type"] == "new_answer"]
    assert not any("too early" in str(data) for data in answers)
    assert any("alone" in text for r in models.requests for text in results(r))


@DIALECTS
def test_at_the_limit_only_decisions_are_offered(
    models: Provider, run: Run, workshop: Workshop, dialect: str
) -> None:
    """After the last step the model is told to decide, and can do nothing else."""
    play(models, shell("true"), shell("true"), NewAnswer("Done."))

    ended = run(workshop.members("a", "b", dialect=dialect, max_steps=2))

    assert ended.exit_code == 0, ended.stderr
    asked = [r for r in models.requests if r.model == "model-a"][:3]
    assert [tools(r) for r in asked] == [
        ["new_answer", "execute_command"],
        ["new_answer", "execute_command"],
        ["new_answer"],
    ]
    assert OVER in results(asked[2])[-1]


def test_results_of_a_turn_have_a_limit(models: Provider, run: Run, workshop: Workshop) -> None:
    """What tools return is cut to what is left for the turn, and then it is time to decide."""
    play(models, shell("yes | head -c 5000"), NewAnswer("Done."))

    run(workshop.members("a", "b", max_result_chars=1000))

    second = [r for r in models.requests if r.model == "model-a"][1]
    assert tools(second) == ["new_answer"]
    assert len(results(second)[0]) < 1000 + 2 * len(OVER)


@DIALECTS
@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(shell("true"), id="for-ever-at-work"),
        pytest.param(ToolCalls((ToolCall("rm_rf", "{}"),)), id="no-such-tool"),
        pytest.param(ToolCalls((ToolCall("execute_command", '{"comm'),)), id="broken-json"),
        pytest.param(shell(*["true"] * (MAX_TOOL_CALLS + 1)), id="too-many-at-once"),
    ],
)
def test_a_model_that_never_decides_fails_alone(
    models: Provider, run: Run, workshop: Workshop, dialect: str, reply: Reply
) -> None:
    """Endless work ends at the step limit, endless nonsense at the last reminder."""
    models.play(Script(rules=(Rule((reply,), model="model-a"),)))

    ended = run(workshop.members("a", "b", dialect=dialect, max_steps=3))

    assert ended.exit_code == 0, ended.stderr
    error = ended.status.agents["a"].error
    assert error is not None
    assert error.type is AgentErrorType.PROTOCOL
    # A turn that the other agent's answer restarts begins anew.
    assert len([r for r in models.requests if r.model == "model-a"]) <= 2 * (3 + 4)


@DIALECTS
def test_nonsense_beside_a_call_is_told_and_costs_nothing(
    models: Provider, run: Run, workshop: Workshop, dialect: str
) -> None:
    """One call of a reply is carried out, the others are answered with what is wrong."""
    wrong = (ToolCall("rm_rf", "{}"), ToolCall("execute_command", "{"), ToolCall("\x1b[0m", "{}"))
    play(models, *[ToolCalls((*wrong, *shell("echo ok").calls))] * 5)

    ended = run(workshop.members("a", dialect=dialect))

    assert ended.exit_code == 0, ended.stderr
    told = results(models.requests[-1])[:3]
    assert told[0].startswith("There is no tool 'rm_rf'; there are: execute_command.")
    assert told[1].startswith("The arguments of execute_command are no JSON object.")
    assert told[2].startswith("ok\n")


@DIALECTS
def test_a_lone_agent_works_and_then_writes(
    models: Provider, run: Run, workshop: Workshop, dialect: str
) -> None:
    """Tools may be called, none has to be; an empty text is no answer; the limit holds."""
    play(models, shell("echo 42 > number"), Text(""), shell("cat number"), Text("It is 42."))

    ended = run(workshop.members("a", dialect=dialect, max_steps=2))

    assert ended.exit_code == 0, ended.stderr
    assert (ended.layout.root / "final/a/answer.txt").read_text() == "It is 42."
    choices = [json.loads(r.body)["tool_choice"] for r in models.requests]
    kinds = [choice if isinstance(choice, str) else choice["type"] for choice in choices]
    assert kinds == ["auto", "auto", "auto", "none"]


def test_the_winner_presents_with_its_tools(models: Provider, run: Run, workshop: Workshop) -> None:
    """Who writes the final answer can still look at what is in the workspace."""
    presenting = (shell("echo final > result"), Text("The result is final."))
    models.play(
        Script(rules=(Rule((NewAnswer("x"),), step="answer"), Rule(presenting, step="text")))
    )

    ended = run(workshop.members("a", "b"))

    assert ended.exit_code == 0, ended.stderr
    winner = ended.status.results.winner
    assert winner is not None
    assert (workshop.workspace(winner) / "result").read_text() == "final\n"


@pytest.mark.parametrize("dialect", ["chat", "messages"])
def test_a_model_is_shown_pictures(
    models: Provider, run: Run, scripted: Callable[..., Workshop], dialect: str
) -> None:
    """What a tool returns as a picture reaches the model in the form of its protocol."""
    shop = scripted(lambda _: Result(id=1, text="look", images=(PICTURE,)))
    play(models, shell("x"))

    ended = run(shop.members("a", dialect=dialect))

    assert ended.exit_code == 0, ended.stderr
    assert PICTURE.data in models.requests[-1].body.decode()


def test_a_model_that_refuses_pictures_is_asked_without(
    models: Provider, run: Run, scripted: Callable[..., Workshop]
) -> None:
    """A 400 costs a request; from then on pictures are named only."""
    shop = scripted(lambda _: Result(id=1, text="look", images=(PICTURE,)))
    play(models, shell("x"), Status(400), shell("y"), Text("I see nothing."))

    ended = run(shop.members("a"))

    assert ended.exit_code == 0, ended.stderr
    shown = [PICTURE.data in request.body.decode() for request in models.requests]
    assert shown == [False, True, False, False]


@DIALECTS
def test_a_conversation_that_is_too_long_is_asked_again_shorter(
    models: Provider, run: Run, workshop: Workshop, dialect: str
) -> None:
    """When the provider's window is smaller than was known, old and long results give way."""
    too_long = Status(400, body={"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}})
    play(models, shell("yes | head -c 20000"), too_long, Text("Many a y."))

    ended = run(workshop.members("a", dialect=dialect))

    assert ended.exit_code == 0, ended.stderr
    _, refused, last = models.requests
    assert len(last.body) < len(refused.body) * 2 // 3
    assert "characters are left out here" in results(last)[0]


def test_old_results_are_shortened_to_fit_the_window(
    models: Provider, run: Run, workshop: Workshop
) -> None:
    """The newest result is whole, the oldest is a note, and no request is above the window."""
    play(models, *[shell(f"yes {n} | head -c 5000") for n in range(6)])

    ended = run(workshop.members("a", context_tokens=8000))

    assert ended.exit_code == 0, ended.stderr
    told = results(models.requests[-1])
    assert told[0].startswith("[shortened: 50")
    assert told[-1].startswith("5\n5\n")
    assert max(len(request.body) for request in models.requests) < 8000 * 3


def test_thinking_goes_back_with_the_calls_it_led_to(
    models: Provider, run: Run, workshop: Workshop
) -> None:
    """The provider refuses a thinking model's calls without the signed thinking before them."""
    play(models, shell("true", thinking="Let me see."), shell("true", thinking="Once more."))

    ended = run(
        workshop.members(
            "a",
            dialect="messages",
            forced_tool_choice=False,
            params={"thinking": {"type": "enabled", "budget_tokens": 1024}},
        )
    )

    assert ended.exit_code == 0, ended.stderr
    assert len(models.requests) == 3


def test_reasoning_goes_back_with_the_calls_it_led_to(
    models: Provider, run: Run, workshop: Workshop
) -> None:
    """Chat servers that show a model's reasoning get it back with its calls."""
    play(models, shell("true", thinking="Let me see."))

    run(workshop.members("a"))

    said = json.loads(models.requests[-1].body)["messages"][2]
    assert (said["role"], said["reasoning_content"]) == ("assistant", "Let me see.")


def test_a_restart_ends_the_calls_of_the_turn(
    models: Provider,
    start: Callable[..., Running],
    scripted: Callable[..., Workshop],
) -> None:
    """When another agent answers, nobody waits for this agent's commands any more."""
    shop = scripted(lambda _: models.release("b"))
    models.play(
        Script(
            rules=(
                Rule((shell("sleep 600"),), model="model-a", step="answer", last_repeats=False),
                Rule((Hold("b", NewAnswer("b")),), model="model-b", step="answer"),
                Rule((Vote("agent2"),), step="vote"),
            )
        )
    )
    running = start(shop.members("a", "b"))
    running.wait_until(lambda status: status.agents["a"].times_restarted > 0)

    ended = running.end()

    assert ended.exit_code == 0, ended.stderr
    assert shop.was_cancelled.wait(30)
