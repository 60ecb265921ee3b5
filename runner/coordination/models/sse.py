"""Server-sent events, decoded as the bytes come in. Runs on: the run container."""

from runner.contract.status import AgentErrorType
from runner.coordination.models.stream import ModelFailure

MAX_EVENT_BYTES = 48 * 1024 * 1024
"""A 5 MB answer in one event may grow sixfold by JSON escapes; anything larger is no reply."""
_BOM = b"\xef\xbb\xbf"


class SseDecoder:
    """Turns chunks, cut anywhere, into the data of whole events; other fields are ignored."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._partial: list[bytes] = []  # pieces of an unfinished line, joined once it ends
        self._size = 0
        self._data: list[bytes] = []
        self._skip_newline = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that `chunk` completes; ModelFailure if one is too big."""
        if self._skip_newline and chunk:
            # The last chunk ended in \r: a \n now belongs to that line end.
            chunk = chunk.removeprefix(b"\n")
            self._skip_newline = False
        if not chunk:
            return []
        self._skip_newline = chunk.endswith(b"\r")
        self._count(len(chunk))
        lines = chunk.splitlines()
        rest = [] if chunk.endswith((b"\n", b"\r")) else [lines.pop()]
        if lines:
            lines[0] = b"".join((*self._partial, lines[0]))
            self._partial = rest
        else:
            self._partial += rest
        return self._events(lines)

    def close(self) -> list[bytes]:
        """Return the data of a last event that the stream did not end with an empty line."""
        lines = [b"".join(self._partial), b""]
        self._partial = []
        return self._events(lines)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._max_event_bytes:
            message = f"the provider sent an event of more than {self._max_event_bytes} bytes"
            raise ModelFailure(AgentErrorType.PROVIDER, message)

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events = []
        for raw in lines:
            line = raw
            if self._at_start:
                line = raw.removeprefix(_BOM)
                self._at_start = False
            if line.startswith(b"data:"):
                value = line[5:]
                self._data.append(value.removeprefix(b" "))
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
                self._size = 0
        return events
