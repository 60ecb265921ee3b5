"""Tokens read from the bytes of an answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.contract.spec import Dialect
from runner.gateway.meter import MAX_TOKENS, Meter, Tokens


def metered(data: bytes, dialect: Dialect = "chat", *, stream: bool = True, cut: int = 0) -> Tokens:
    """Return the tokens of `data`, fed in pieces of `cut` bytes (0: whole)."""
    meter = Meter(dialect, stream=stream, request_bytes=400)
    for start in range(0, len(data), cut or len(data)):
        meter.feed(data[start : start + (cut or len(data))])
    return meter.tokens()


def events(*payloads: Any) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(p).encode() for p in payloads)


TEXT = {"choices": [{"delta": {"content": "four letter words"}}]}
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
CHAT = events(TEXT, {"choices": [], "usage": USAGE}) + b"data: [DONE]\n\n"
MESSAGES = b"event: x\n" + events(
    {
        "type": "message_start",
        "message": {
            "usage": {
                "input_tokens": 50,
                "cache_read_input_tokens": 40,
                "cache_creation_input_tokens": 10,
                "output_tokens": 1,
            }
        },
    },
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hello"}},
    {"type": "message_delta", "usage": {"output_tokens": 20}},
    {"type": "message_stop"},
)


@pytest.mark.parametrize("cut", [0, 1, 2, 7, 64])
def test_reads_usage_wherever_the_bytes_are_cut(cut: int) -> None:
    """A report that is spread over several chunks is read like one that is not."""
    assert metered(CHAT, cut=cut) == Tokens(100, 20)
    assert metered(MESSAGES, "messages", cut=cut) == Tokens(100, 20, 40, cache_written=10)
    assert metered(CHAT.replace(b"\n", b"\r\n"), cut=cut) == Tokens(100, 20)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({**USAGE, "prompt_tokens_details": {"cached_tokens": 30}}, Tokens(100, 20, 30)),
        ({**USAGE, "prompt_cache_hit_tokens": 30}, Tokens(100, 20, 30)),
        ({**USAGE, "total_tokens": 190}, Tokens(100, 90)),
        ({**USAGE, "total_tokens": 0}, Tokens(100, 20)),
        ({**USAGE, "prompt_tokens_details": {"cached_tokens": 900}}, Tokens(100, 20, 100)),
    ],
)
def test_understands_the_ways_of_different_providers(
    usage: dict[str, Any], expected: Tokens
) -> None:
    """Cached tokens stand in several places; thinking may be counted in the total alone."""
    assert metered(events({"usage": usage})) == expected
    assert metered(events({"x_groq": {"usage": usage}})) == expected
    assert metered(json.dumps({"usage": usage}, indent=1).encode(), stream=False) == expected


@pytest.mark.parametrize(
    "number", [-5, 10**30, 1e308, float("inf"), float("nan"), "7", None, [], {}, True]
)
def test_absurd_numbers_are_clamped(number: Any) -> None:
    """No number that a provider can write makes a sum negative, endless or wrong in type."""
    usage = {"prompt_tokens": number, "completion_tokens": number, "total_tokens": number}
    tokens = metered(events({"usage": usage}))
    for count in tokens[:3]:
        assert type(count) is int
        assert 0 <= count <= MAX_TOKENS


@pytest.mark.parametrize("number", [-5, 10**30, float("nan"), "7", True])
def test_an_absurd_number_is_said_and_never_believed_to_be_nothing(number: Any) -> None:
    """What no call can have is marked; where nothing is left of it, the text itself is counted."""
    tokens = metered(events(TEXT, {"usage": {**USAGE, "completion_tokens": number}}))
    assert tokens.is_odd
    assert tokens.output >= 20

    tokens = metered(events(TEXT, {"usage": {"prompt_tokens": 7, "completion_tokens": number}}))
    assert tokens.is_odd
    assert tokens.output > 0


def test_no_output_beside_text_is_not_believed() -> None:
    """A report of nothing for a reply that said something is replaced by an estimate."""
    nothing = {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}
    tokens = metered(events(TEXT, nothing))
    assert tokens == Tokens(100, 5, estimated=True)


def test_reads_reasoning_as_part_of_the_output() -> None:
    """Thinking that is not shown is named, and not counted twice."""
    usage = {**USAGE, "completion_tokens_details": {"reasoning_tokens": 15}}
    assert metered(events({"usage": usage})) == Tokens(100, 20, reasoning=15)


def test_running_totals_are_not_added_up() -> None:
    """A provider that reports with every chunk reports the sum so far."""
    growing = [{"usage": {"prompt_tokens": 9, "completion_tokens": n}} for n in (1, 5, 12)]
    assert metered(events(*growing)) == Tokens(9, 12)


@pytest.mark.parametrize(
    ("data", "stream"),
    [
        (events(TEXT, TEXT) + b"data: [DONE]\n\n", True),
        (events(TEXT, TEXT, {"usage": None}), True),
        (json.dumps({"message": {"content": "four letter words" * 2}}).encode(), False),
    ],
)
def test_estimates_what_is_not_reported(data: bytes, stream: bool) -> None:
    """Without a report, four bytes of request or of text count as a token, and are marked."""
    assert metered(data, stream=stream) == Tokens(100, 9, estimated=True)


def test_a_cut_messages_stream_keeps_the_exact_input() -> None:
    """Input tokens come first in this dialect; only the output is then an estimate."""
    data = MESSAGES[: MESSAGES.index(b'{"type": "message_delta"')]
    assert metered(data, "messages") == Tokens(100, 2, 40, estimated=True, cache_written=10)


def test_the_word_usage_in_an_answer_is_no_report() -> None:
    """A model that writes JSON about usage is not believed."""
    said = {"choices": [{"delta": {"content": '"usage": {"prompt_tokens": 1}'}}]}
    assert metered(events(said)).estimated


def test_a_line_without_an_end_is_not_kept() -> None:
    """An endless line does not fill the memory, and what comes after it is read."""
    meter = Meter("chat", stream=True, request_bytes=4)
    for _ in range(64):
        meter.feed(b"x" * 65536)
    assert sum(map(len, meter._parts)) == 0
    meter.feed(b"\n" + CHAT)
    assert meter.tokens() == Tokens(100, 20)


@pytest.mark.parametrize(("data", "dialect"), [(CHAT, "chat"), (MESSAGES, "messages")])
def test_knows_the_last_word_of_a_stream(data: bytes, dialect: Dialect) -> None:
    """A stream is complete with its last event, before the connection ends."""
    meter = Meter(dialect, stream=True, request_bytes=4)
    meter.feed(data.replace(b'data: {"type": "message_stop"', b"event: message_stop\ndata: {"))
    assert meter.is_complete


@given(st.binary(max_size=2000), st.sampled_from(["chat", "messages"]), st.booleans())
def test_no_bytes_upset_it(data: bytes, dialect: Dialect, stream: bool) -> None:
    """Whatever a provider sends, there is a count in the end."""
    tokens = metered(b'data: {"usage": ' + data, dialect, stream=stream)
    assert all(0 <= count <= MAX_TOKENS for count in tokens[:3])


def test_what_is_priced_apart_is_counted_apart() -> None:
    """Tokens of reasoning and those kept in a cache for an hour are told from the rest."""
    usage = {**USAGE, "completion_tokens_details": {"reasoning_tokens": 15}}
    assert metered(events({"usage": usage})) == Tokens(100, 20, reasoning=15)
    report = {
        "input_tokens": 50,
        "cache_creation_input_tokens": 40,
        "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 10},
        "output_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 5},
    }
    data = events({"type": "message_delta", "usage": report})
    expected = Tokens(90, 20, cache_written=40, cache_written_hour=10, reasoning=5)
    assert metered(data, "messages") == expected
