"""Cassettes: what is written is read back, and what comes from elsewhere is read as hostile."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ConfigurationError
from runner.gateway.cassette import (
    MAX_CASSETTE_BYTES,
    Call,
    Cassette,
    End,
    Header,
    RecordedCall,
    Timing,
    call_lines,
    header_line,
    parse_cassette,
    read_cassette,
    stopped_line,
)

HEADER = Header(recorded_by="test", question="Why?", config={"agents": []})


def recorded(
    agent: str = "agent_a",
    ordinal: int = 1,
    *,
    chunks: tuple[bytes, ...] = (b"data: {}\n\n", b"data: [DONE]\n\n"),
    request: Any = None,
    start: int = 0,
    end: int = 1,
    kind: Any = "complete",
) -> RecordedCall:
    """Return a small recorded call."""
    asked = request or {"model": "m", "messages": [{"role": "user", "content": "Why?"}]}
    times = tuple(index / 10 for index in range(len(chunks)))
    return RecordedCall(
        Call(agent=agent, ordinal=ordinal, dialect="chat", stream=True),
        asked,
        chunks,
        End(kind=kind, status=200),
        Timing(started=0.0, ended=1.0, start_order=start, end_order=end, chunks=times),
    )


def tape(*calls: RecordedCall) -> bytes:
    """Return the bytes of a cassette."""
    return header_line(HEADER) + b"".join(map(call_lines, calls))


def parsed(content: bytes) -> Cassette:
    return parse_cassette(content.splitlines(keepends=True), "c.jsonl")


@pytest.mark.parametrize(
    "call",
    [
        recorded(),
        recorded(request={"messages": [], "z": 1, "a": [True, None, 1.5, 10**30]}),
        recorded(request={"messages": "no list"}),
        recorded(request={"messages": [{"content": "half a pair: \ud83d"}]}),
        recorded(request={"messages": [{"content": "Grüße, 世界 \u2028 \x00"}]}),
        recorded(chunks=(b"no utf-8: \xff\xfe", "Grüße".encode())),
        recorded(chunks=()),
        recorded(kind="cancelled"),
    ],
)
def test_what_is_written_is_read_back(call: RecordedCall) -> None:
    """A call comes back as it was, whatever is in it."""
    assert parsed(tape(call)) == Cassette(HEADER, (call,))


def test_two_recordings_of_one_answer_differ_in_their_timing_alone() -> None:
    """A diff of two cassettes shows what changed: keys in order, a line for each message."""
    one = recorded(request={"b": 1, "a": 2, "messages": [{"role": "user", "content": "x"}]})
    two = recorded(request={"messages": [{"content": "x", "role": "user"}], "a": 2, "b": 1})
    two = two._replace(timing=two.timing.model_copy(update={"ended": 7.5}))
    lines = [tape(call).splitlines() for call in (one, two)]
    different = [old for old, new in zip(*lines, strict=True) if old != new]
    assert [next(iter(json.loads(line))) for line in different] == ["timing"]


def test_every_cut_leaves_the_calls_before_it() -> None:
    """A recording killed at any byte is read up to the last whole call, and says so."""
    whole = tape(recorded(), recorded("agent_b", start=2, end=3))
    first = len(tape(recorded()))
    begin = len(header_line(HEADER))
    for cut in range(begin, len(whole)):
        cassette = parsed(whole[:cut])
        assert len(cassette.calls) == (1 if cut >= first else 0)
        is_torn = cut not in {begin, first} and whole[:cut].count(b"\n") > (
            tape(recorded()).count(b"\n") if cut >= first else 1
        )
        assert bool(cassette.notes) == is_torn
    for cut in range(begin):
        with pytest.raises(ConfigurationError, match="is empty"):
            parsed(whole[:cut])


def test_says_that_a_recording_was_given_up() -> None:
    """A cassette that was full says why it ends."""
    cassette = parsed(tape(recorded()) + stopped_line("the cassette is full"))
    assert cassette.notes == ("c.jsonl: the recording was given up: the cassette is full",)


GOOD = tape(recorded()).splitlines(keepends=True)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b"[1]\n"], "1: is no line of a cassette"),
        ([b"{}\n"], "1: is no line of a cassette"),
        ([b'{"call":{}}\n'], "1: does not begin as a cassette does"),
        ([b'{"cassette":{"schema_version":2}}\n'], "1: schema_version: Input should be 1"),
        ([b'{"cassette":' + b"[" * 100_000 + b"\n"], "1: is no JSON"),
        ([b"\xff\xfe\n"], "1: is no JSON"),
        ([GOOD[0], b'{"chunk":"x"}\n'], "2: 'chunk' does not belong here"),
        ([GOOD[0], b'{"\\u001b[31m":1}\n'], "2: '' does not belong here"),
        ([*GOOD[:2], *GOOD[3:]], "the call has no request"),
        ([*GOOD, *GOOD[1:]], "the order of starts and ends contradicts itself"),
        ([*GOOD[:3], b'{"chunk":7}\n'], "'chunk' does not belong here"),
        ([*GOOD[:3], b'{"chunk":"\\ud800"}\n'], "neither text nor base64"),
        ([*GOOD[:3], b'{"chunk_base64":"?"}\n'], "neither text nor base64"),
        ([*GOOD[:4], *GOOD[5:]], "another number of chunks"),
        ([*GOOD[:-1], b'{"timing":{"started":NaN}}\n'], "started"),
        ([*GOOD[:-1], GOOD[-1].replace(b'"end_order":1', b'"end_order":0')], "contradicts"),
        ([GOOD[0], GOOD[1].replace(b"agent_a", b"../../etc")], "agent: "),
        ([GOOD[0], GOOD[1].replace(b"chat", b"smtp")], "dialect: "),
    ],
)
def test_refuses_what_no_recording_writes(lines: list[bytes], said: str) -> None:
    """Whatever is wrong is a configuration error with the line, in printable text."""
    with pytest.raises(ConfigurationError) as caught:
        parse_cassette(lines, "c.jsonl")
    message = str(caught.value)
    assert message.startswith("c.jsonl:")
    assert said in message
    assert message.isprintable()


@given(
    st.lists(st.tuples(st.integers(0, len(tape(recorded())) - 1), st.integers(0, 255)), max_size=6)
)
def test_noise_never_gets_past_the_reader(changes: list[tuple[int, int]]) -> None:
    """Bytes changed at random are read, or refused as a configuration error; never worse."""
    noisy = bytearray(tape(recorded()))
    for place, byte in changes:
        noisy[place] = byte
    with suppress(ConfigurationError):
        parsed(bytes(noisy))


def test_refuses_links_fifos_directories_and_giants(tmp_path: Path) -> None:
    """What is no regular file of a bearable size is refused without waiting for it."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "directory").mkdir()
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(MAX_CASSETTE_BYTES + 1)
    for name in ("fifo", "link", "directory", "giant", "missing", "nul\0"):
        with pytest.raises(ConfigurationError, match=r"^shown: "):
            read_cassette(tmp_path / name, "shown")


def test_reads_a_hundred_megabytes(tmp_path: Path) -> None:
    """A long run's cassette is read whole."""
    path = tmp_path / "c.jsonl"
    chunks = tuple(b"data: " + b"x" * 10_000 + b"\n\n" for _ in range(100))
    size = 0
    with path.open("wb") as file:
        size += file.write(header_line(HEADER))
        for number in range(100):
            call = recorded(ordinal=number + 1, chunks=chunks, start=2 * number, end=2 * number + 1)
            size += file.write(call_lines(call))
    assert size > 100_000_000
    cassette = read_cassette(path, "c.jsonl")
    assert len(cassette.calls) == 100
    assert cassette.calls[99].chunks == chunks
