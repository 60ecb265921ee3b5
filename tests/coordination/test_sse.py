"""Server-sent events, however the network cuts them. Runs on: host."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.coordination.models.sse import SseDecoder
from runner.coordination.models.stream import ModelFailure

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
PAYLOADS = st.lists(st.binary(min_size=1, max_size=30).map(lambda b: b.hex().encode()), max_size=8)


def decode(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Return the events of `stream`, fed in pieces cut at `cuts`."""
    decoder = SseDecoder()
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    events = []
    for start, end in itertools.pairwise(edges):
        events += decoder.feed(stream[start:end])
    return events + decoder.close()


@given(payloads=PAYLOADS, end=LINE_ENDS, cuts=st.lists(st.integers(0, 2000), max_size=20))
def test_events_are_the_same_wherever_the_stream_is_cut(
    payloads: list[bytes], end: bytes, cuts: list[int]
) -> None:
    """Chunk borders, also inside a line end, change nothing."""
    stream = b"".join(b"event: x" + end + b"data: " + p + end + end for p in payloads)

    assert decode(stream, cuts) == payloads


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        pytest.param(b"data:a\n\n", [b"a"], id="no-space"),
        pytest.param(b"data:  a\n\n", [b" a"], id="one-space-goes"),
        pytest.param(b"data: a\ndata: b\n\n", [b"a\nb"], id="two-lines"),
        pytest.param(b": ping\n\ndata: a\n\n", [b"a"], id="comment"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [b"a"], id="bom"),
        pytest.param(b"data: a", [b"a"], id="no-last-line-end"),
        pytest.param(b"data: a\n", [b"a"], id="no-empty-line"),
        pytest.param(b"id: 7\nretry: 3\n\n", [], id="other-fields"),
        pytest.param(b"\n\n\n", [], id="empty-lines"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_an_event_is_its_data(stream: bytes, events: list[bytes]) -> None:
    """Fields, comments and endings are read as the specification has them, ends leniently."""
    assert decode(stream, []) == events


@pytest.mark.parametrize("piece", [b"x" * 100, b"data: x\n"])
def test_an_event_without_an_end_is_cut(piece: bytes) -> None:
    """Neither one line nor one event can grow for ever."""
    decoder = SseDecoder(max_event_bytes=1000)

    def feed_without_end() -> None:
        for _ in range(1000):
            decoder.feed(piece)

    with pytest.raises(ModelFailure, match="1000 bytes"):
        feed_without_end()
