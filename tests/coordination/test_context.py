"""What of a conversation is sent: the rule by which old parts give way. Runs on: host."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.contract.spec import AgentSpec
from runner.contract.status import AgentErrorType
from runner.contract.tools import Image
from runner.coordination.acting.asking import is_too_long
from runner.coordination.acting.context import (
    MAX_IMAGES,
    fitted,
    fitted_harder,
    has_images,
    middle_cut,
    request_size,
    window_chars,
)
from runner.coordination.models import chat, messages
from runner.coordination.models.stream import (
    AssistantMessage,
    Kept,
    Message,
    ModelFailure,
    Request,
    ToolCall,
    ToolResult,
    UserMessage,
)
from tests.support.provider.chat import chat_refusal
from tests.support.provider.messages import messages_refusal

QUESTION = "What is the capital of France? " * 3
PICTURE = Image(media_type="image/png", data="aGVsbG8=")


@st.composite
def steps(draw: st.DrawFn) -> tuple[Message, ...]:
    """One reply with calls and their results."""
    number = draw(st.integers(0, 10**9))
    count = draw(st.integers(1, 3))
    text = st.text(alphabet='ab \n"é', max_size=2000)
    calls = tuple(
        ToolCall(f"c{number}_{n}", "run", json.dumps({"command": draw(text)})) for n in range(count)
    )
    results = (ToolResult(call.id, draw(text)) for call in calls)
    return (AssistantMessage(draw(text), calls), *results)


@st.composite
def conversations(draw: st.DrawFn) -> Request:
    """A question and some steps, with reminders between them."""
    said: list[Message] = [UserMessage(QUESTION)]
    for step in draw(st.lists(steps(), max_size=6)):
        said += step
        if draw(st.booleans()):
            said += [AssistantMessage("Hm."), UserMessage("No tool was called.")]
    return Request("Be brief.", tuple(said))


@given(conversations(), st.integers(0, 20_000))
def test_only_what_may_give_way_gives_way(request: Request, limit: int) -> None:
    """System message, question, reminders and the last reply with its results stay as they are."""
    shorter = fitted(request, limit)

    assert shorter.system == request.system
    kept = [m for m in shorter.messages if isinstance(m, UserMessage)]
    assert kept == [m for m in request.messages if isinstance(m, UserMessage)]
    last = max((n for n, m in enumerate(request.messages) if _speaks(m)), default=0)
    assert shorter.messages[last:] == request.messages[last:]


@given(conversations(), st.integers(0, 20_000))
def test_a_request_fits_wherever_it_can(request: Request, limit: int) -> None:
    """It is under the limit, or there is nothing left that could be shortened."""
    shorter = fitted(request, limit)

    assert request_size(shorter) <= max(limit, request_size(fitted(request, 0)))
    if request_size(request) <= limit:
        assert shorter == request


@given(conversations(), st.integers(0, 20_000))
def test_both_protocols_take_what_is_left(request: Request, limit: int) -> None:
    """Order of messages and pairs of calls and results stay as providers want them."""
    for shorter in (fitted(request, limit), fitted_harder(request, limit)):
        agent = AgentSpec(id="a", model="m")
        assert chat_refusal(chat.request_body(agent, shorter)) is None
        body = messages.request_body(agent, shorter)
        if _speaks(shorter.messages[-1]):
            continue
        assert messages_refusal(body) is None
        pairs = [
            (_ids(a), _ids(b)) for a, b in zip(request.messages, shorter.messages, strict=True)
        ]
        assert all(before == after for before, after in pairs)


@given(conversations(), st.integers(0, 20_000))
def test_results_give_way_before_what_the_model_said(request: Request, limit: int) -> None:
    """A text of the model is shortened only when every older result has been."""
    shorter = fitted(request, limit)

    was_changed = [a != b for a, b in zip(request.messages, shorter.messages, strict=True)]
    said = any(c for c, m in zip(was_changed, request.messages, strict=True) if _speaks(m))
    if said:
        bare = fitted(request, 0)
        results = [m for m in shorter.messages if isinstance(m, ToolResult)]
        assert results == [m for m in bare.messages if isinstance(m, ToolResult)]


def _speaks(message: Message) -> bool:
    return isinstance(message, AssistantMessage)


def _ids(message: Message) -> Any:
    match message:
        case ToolResult(call_id):
            return call_id
        case AssistantMessage(_, calls):
            return [(call.id, call.name) for call in calls]
        case UserMessage(text):
            return text


def test_the_oldest_result_goes_first() -> None:
    """One result has to go: it is the first, and its length is told."""
    said: list[Message] = [UserMessage(QUESTION)]
    for n in range(3):
        said += [
            AssistantMessage("", (ToolCall(f"c{n}", "run", "{}"),)),
            ToolResult(f"c{n}", "x" * 900),
        ]
    request = Request("", tuple(said))

    shorter = fitted(request, request_size(request) - 100)

    texts = [m.text for m in shorter.messages if isinstance(m, ToolResult)]
    assert texts == ["[shortened: 900 characters]", "x" * 900, "x" * 900]


def test_what_a_provider_finds_too_long_loses_the_middle_of_its_last_results() -> None:
    """With nothing old to give up, the newest results are cut too."""
    calls = (ToolCall("c0", "run", "{}"), ToolCall("c1", "run", "{}"))
    results = (ToolResult("c0", "a" * 50_000), ToolResult("c1", "b" * 50_000))
    request = Request("", (UserMessage(QUESTION), AssistantMessage("", calls), *results))

    shorter = fitted_harder(request, 20_000)

    assert request_size(shorter) <= 20_000
    assert all("are left out here" in m.text for m in shorter.messages[2:])


def test_only_the_newest_pictures_are_sent() -> None:
    """Old pictures become a note: a request can hold only so many bytes."""
    said: list[Message] = [UserMessage(QUESTION)]
    for n in range(MAX_IMAGES + 2):
        call = ToolCall(f"c{n}", "look", "{}")
        said += [AssistantMessage("", (call,)), ToolResult(f"c{n}", "", (PICTURE,))]

    shorter = fitted(Request("", tuple(said)), 10**9)

    shown = [bool(m.images) for m in shorter.messages if isinstance(m, ToolResult)]
    assert shown == [False, False, *[True] * MAX_IMAGES]
    assert has_images(shorter)


def test_thinking_of_older_replies_goes_with_their_text() -> None:
    """Only the thinking before the last calls goes back; fields that servers insist on stay."""
    thought = {"type": "thinking", "thinking": "hm " * 500, "signature": "s"}
    use = {"type": "tool_use", "id": "c0", "name": "run", "input": {}}
    old = AssistantMessage("", (ToolCall("c0", "run", "{}"),), Kept((thought, use), {"x": "y"}))
    new = AssistantMessage("", (ToolCall("c1", "run", "{}"),), Kept((thought, use)))
    said = (UserMessage(""), old, ToolResult("c0", ""), new, ToolResult("c1", ""))

    shorter = fitted(Request("", said), 0).messages

    assert shorter[1] == old._replace(kept=Kept(fields={"x": "y"}))
    assert shorter[3] == new


def test_the_window_leaves_room_for_the_reply() -> None:
    """A token is taken as three characters; a reply never takes more than half."""
    assert window_chars(AgentSpec(id="a", model="m")) == 3 * (128_000 - 8192)
    assert window_chars(AgentSpec(id="a", model="m", context_tokens=8000)) == 3 * 4000
    params = {"max_tokens": 1000}
    assert window_chars(AgentSpec(id="a", model="m", context_tokens=8000, params=params)) == 21_000


@given(st.text(max_size=3000), st.integers(100, 2000))
def test_a_cut_keeps_both_ends(text: str, limit: int) -> None:
    """A text under its limit stays; a longer one keeps its beginning and its end."""
    cut = middle_cut(text, limit)

    assert len(cut) <= limit or cut == text
    assert cut[:10] == text[:10]
    assert cut[-10:] == text[-10:]


SAID = [
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 198000 + 8192 > 200000",
    "the request exceeds the available context size. try increasing the context size",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
]


def test_refusals_because_of_length_are_known() -> None:
    """The words of OpenAI and vLLM, Anthropic, llama.cpp and Gemini."""
    for said in SAID:
        assert is_too_long(ModelFailure(AgentErrorType.PROVIDER, said, status=400)), said
    assert not is_too_long(ModelFailure(AgentErrorType.PROVIDER, "no such model", status=400))
    assert not is_too_long(ModelFailure(AgentErrorType.BUDGET, SAID[0], status=400))
