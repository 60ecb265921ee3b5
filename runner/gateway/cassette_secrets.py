"""Keep credentials out of cassettes: requests and answers, also in pieces. Runs on: host."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Redact = Callable[[str], str]

_EVENT_END = re.compile(rb"\r?\n\r?\n")
_DATA = "data:"
_SPOKEN = frozenset(
    {"content", "reasoning_content", "reasoning", "text", "thinking", "partial_json", "arguments"}
)
"""Keys under which providers send a reply in pieces."""


def redacted(value: Any, redact: Redact) -> Any:
    """Return JSON with every text in it redacted, names of keys included."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [redacted(item, redact) for item in value]
    if isinstance(value, dict):
        return {redact(key): redacted(item, redact) for key, item in value.items()}
    return value


def events_of(chunks: Sequence[tuple[float, bytes]], *, stream: bool) -> list[tuple[float, bytes]]:
    """Return the events of a stream, each with the time at which its last byte came.

    How a network cut an answer up says nothing: events make cassettes of one answer equal. The
    body of an answer that is not streamed is one.
    """
    events: list[tuple[float, bytes]] = []
    rest = bytearray()
    for when, chunk in chunks:
        searched = max(0, len(rest) - 3)
        rest += chunk
        if not stream:
            continue
        begin = 0
        for end in _EVENT_END.finditer(rest, searched):
            events.append((when, bytes(rest[begin : end.end()])))
            begin = end.end()
        del rest[:begin]
    if rest:
        events.append((chunks[-1][0], bytes(rest)))
    return events


def redacted_events(events: Sequence[bytes], redact: Redact) -> list[bytes] | None:
    """Return the events without credentials; None where one is spread over several of them."""
    whole = b"".join(events).decode("utf-8", "replace")
    texts = [text for event in events for text in _texts(event)]
    said = "".join(text for key, text in texts if key in _SPOKEN)
    everything = "\n".join(text for _, text in texts)
    if redact(said) == said and redact(everything) == everything and redact(whole) == whole:
        return list(events)
    cleaned = [_redacted_event(event, redact) for event in events]
    said = "".join(text for event in cleaned for key, text in _texts(event) if key in _SPOKEN)
    whole = b"".join(cleaned).decode("utf-8", "replace")
    return cleaned if redact(said) == said and redact(whole) == whole else None


def _redacted_event(event: bytes, redact: Redact) -> bytes:
    lines = event.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    return "".join(_redacted_line(line, redact) for line in lines).encode(
        "utf-8", "surrogateescape"
    )


def _redacted_line(line: str, redact: Redact) -> str:
    prefix, value = _json_of(line)
    if value is None:
        return redact(line)
    clean = redacted(value, redact)
    if clean == value and redact(line) == line:
        return line
    end = line[len(line.rstrip("\r\n")) :]
    return f"{prefix}{json.dumps(clean)}{end}"


def _texts(event: bytes) -> Iterator[tuple[str, str]]:
    """Yield key and value of every text in the JSON of an event."""
    for line in event.decode("utf-8", "replace").splitlines():
        _, value = _json_of(line)
        yield from _leaves("", value)


def _json_of(line: str) -> tuple[str, Any]:
    prefix = f"{_DATA} " if line.startswith(_DATA) else ""
    text = line.removeprefix(_DATA)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "", None
    return prefix, value if isinstance(value, dict | list) else None


def _leaves(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield "", name
            yield from _leaves(name, item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(key, item)
