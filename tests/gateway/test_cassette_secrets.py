"""Credentials that providers repeat do not get into cassettes."""

import json

import pytest

from runner.gateway.cassette_secrets import events_of, redacted, redacted_events
from runner.gateway.redaction import Redactor

KEY = "a-key/of+no-shape-0123456789"
REDACT = Redactor([KEY])


def delta(text: str, key: str = "content") -> bytes:
    return f"data: {json.dumps({'choices': [{'delta': {key: text}}]})}\n\n".encode()


def test_leaves_what_holds_no_credential_as_it_is() -> None:
    """Bytes stay bytes: spaces, order of keys, escapes, what is no UTF-8 and what is no JSON."""
    events = [b'data: {"b" : "\\u00e9",  "a":1}\n\n', b"data: [DONE]\n\n", b"\xff: no\n\n", b"rest"]
    assert redacted_events(events, REDACT) == events


@pytest.mark.parametrize(
    "event",
    [
        delta(f"Your key is {KEY}."),
        delta(KEY, "arguments"),
        b'data: {"id": "' + KEY.replace("/", "\\/").encode() + b'"}\n\n',
        b": comment " + KEY.encode() + b"\n\n",
        b'data: {"' + KEY.encode() + b'": 1}\n\n',
        json.dumps({"choices": [{"message": {"content": KEY}}]}).encode(),
    ],
)
def test_masks_a_credential_and_keeps_the_rest(event: bytes) -> None:
    """A key in one event is masked, and the events around it stay what they were."""
    before, after = delta("Before."), delta("After.")
    events = redacted_events([before, event, after], REDACT)
    assert events is not None
    assert (events[0], events[2]) == (before, after)
    assert KEY not in events[1].decode().replace("\\/", "/")
    assert b"[redacted]" in events[1]
    text = events[1].decode().strip()
    if not text.startswith(":"):
        json.loads(text.removeprefix("data: "))


@pytest.mark.parametrize("size", [1, 3, 10])
@pytest.mark.parametrize("key", ["content", "arguments", "partial_json", "thinking"])
def test_withholds_an_answer_with_a_credential_in_pieces(size: int, key: str) -> None:
    """A key that comes a few characters at a time cannot be masked, so nothing is kept."""
    said = f"It is {KEY}, really."
    pieces = [delta(said[i : i + size], key) for i in range(0, len(said), size)]
    assert redacted_events(pieces, REDACT) is None


def test_masks_keys_by_their_shape_in_requests() -> None:
    """What looks like a key is masked in a request too, wherever it stands."""
    key = "sk-test-0123456789abcdefghijklmnop"
    request = {"messages": [{"content": f"My key is {key}."}], key: [key], "n": 1, "t": True}
    clean = redacted(request, Redactor(()))
    assert key not in json.dumps(clean)
    assert clean["messages"][0]["content"] == "My key is [redacted]."
    assert (clean["n"], clean["t"]) == (1, True)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_events_do_not_depend_on_the_network(size: int, newline: bytes) -> None:
    """However an answer was cut up on its way, its events are the same; nothing is lost."""
    expected = [b"data: 1" + 2 * newline, b"data: 2" + 2 * newline, b"data: [DONE]"]
    whole = b"".join(expected)
    pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
    events = events_of(list(enumerate(pieces)), stream=True)
    assert [event for _, event in events] == expected
    assert events[-1][0] == len(pieces) - 1


def test_a_body_that_is_not_streamed_is_one_event() -> None:
    """A whole body stays whole, with the time of its last byte."""
    pieces = [(0.1, b'{"a":\n\n'), (0.4, b"1}")]
    assert events_of(pieces, stream=False) == [(0.4, b'{"a":\n\n1}')]
    assert events_of([], stream=True) == []
