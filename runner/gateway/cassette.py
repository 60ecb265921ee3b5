"""Cassettes: the model calls of a run in one file, to be replayed later. Runs on: host.

JSON lines, one key each, so that two cassettes can be compared by any diff: a header, then for each
call its lines in one piece: `call`, `request`, each `message`, each `chunk` of the answer, `end`,
and last `timing`, which is the only line that always differs. A cassette may come from somewhere
else: it is read as hostile. Only its end may be missing, where the recording was killed.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, NonNegativeInt, ValidationError

from runner.contract.agent_socket import AgentDialect
from runner.contract.files import open_regular
from runner.contract.run_id import AGENT_ID
from runner.contract.status import AgentErrorType
from runner.contract.text import one_line
from runner.errors import ConfigurationError

MAX_CASSETTE_BYTES = 256 * 1024 * 1024
"""Neither written nor read beyond that."""
MAX_CALLS = 100_000
MAX_CHUNKS = 2_000_000

JsonObject = dict[str, JsonValue]
Instant = Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)]
"""Seconds since the recording began."""
EndKind = Literal["complete", "refused", "broken", "cancelled"]
"""As in the ledger: answered; an error of the provider; cut by it; the container hung up."""
T = TypeVar("T", bound=BaseModel)


class CassettePart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Header(CassettePart):
    """What was run; `config` is resolved and holds references instead of secrets."""

    schema_version: Literal[1] = 1
    recorded_by: Annotated[str, Field(max_length=100)]
    question: Annotated[str, Field(max_length=8 * 1024 * 1024)]
    config: dict[str, JsonValue]


class Call(CassettePart):
    """Who asked; `ordinal` counts the agent's calls from 1."""

    agent: Annotated[str, Field(pattern=f"^{AGENT_ID.pattern}$")]
    ordinal: Annotated[int, Field(ge=1, le=MAX_CALLS)]
    dialect: AgentDialect
    stream: bool


class End(CassettePart):
    """How the call ended, in the gateway's words; never a secret."""

    kind: EndKind
    status: int | None = None
    """The provider's HTTP status."""
    attempts: NonNegativeInt = 1
    request_id: Annotated[str, Field(max_length=200)] | None = None
    message: Annotated[str, Field(max_length=4000)] | None = None
    """Of a refusal or a broken stream."""
    error_type: AgentErrorType | None = None
    gateway_status: Annotated[int, Field(ge=400, le=599)] | None = None
    """HTTP status of the refusal, as the container saw it."""


class Timing(CassettePart):
    """When things happened; the orders count all starts and ends of the run together."""

    started: Instant
    ended: Instant
    start_order: NonNegativeInt
    end_order: NonNegativeInt
    chunks: tuple[Instant, ...] = ()
    """For each chunk, counted from the start of the call."""


class RecordedCall(NamedTuple):
    """One call with its answer; a chunk is one event of the stream, or the whole body."""

    call: Call
    request: JsonObject
    chunks: Sequence[bytes]
    end: End
    timing: Timing

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"call {self.call.ordinal} of {self.call.agent}"


class Cassette(NamedTuple):
    header: Header
    calls: Sequence[RecordedCall]
    notes: Sequence[str] = ()
    """What is missing, for people."""


def json_line(key: str, value: Any) -> bytes:
    """Return one line of a cassette: canonical JSON, keys sorted, no escapes but needed ones."""
    try:
        return _dumped({key: value}, ensure_ascii=False)
    except UnicodeEncodeError:  # half a surrogate pair
        return _dumped({key: value}, ensure_ascii=True)


def _dumped(value: Any, *, ensure_ascii: bool) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=ensure_ascii, separators=(",", ":"))
    return text.encode() + b"\n"


def header_line(header: Header) -> bytes:
    """Return the first line of a cassette."""
    return json_line("cassette", header.model_dump(mode="json"))


def call_lines(recorded: RecordedCall) -> bytes:
    """Return the lines of one call."""
    request = dict(recorded.request)
    messages = request.get("messages")
    lines = [json_line("call", recorded.call.model_dump(mode="json"))]
    if isinstance(messages, list) and messages:
        del request["messages"]
    else:
        messages = []
    lines.append(json_line("request", request))
    lines.extend(json_line("message", message) for message in messages)
    lines.extend(map(_chunk_line, recorded.chunks))
    lines.append(json_line("end", recorded.end.model_dump(mode="json", exclude_none=True)))
    lines.append(json_line("timing", recorded.timing.model_dump(mode="json")))
    return b"".join(lines)


def _chunk_line(chunk: bytes) -> bytes:
    try:
        return json_line("chunk", chunk.decode())
    except UnicodeDecodeError:
        return json_line("chunk_base64", base64.b64encode(chunk).decode())


def stopped_line(reason: str) -> bytes:
    """Return the last line of a recording that was given up."""
    return json_line("stopped", reason)


def read_cassette(path: Path, shown: str) -> Cassette:
    """Return the cassette in a file; `shown` names it in errors.

    Raises ConfigurationError for what is no cassette, too large, a link or no regular file.
    """
    try:
        with (
            open_regular(path.parent, path.name) as descriptor,
            os.fdopen(descriptor, "rb", closefd=False) as file,
        ):
            size = os.fstat(descriptor).st_size
            if size > MAX_CASSETTE_BYTES:
                what = f"has {size:,} bytes (allowed: {MAX_CASSETTE_BYTES:,})"
                raise ConfigurationError(f"{shown}: {what}: is this a cassette?")
            return parse_cassette(_limited(file, MAX_CASSETTE_BYTES), shown)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{shown}: there is no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = one_line(str(error), 300)
        raise ConfigurationError(f"{shown}: cannot be read as a cassette: {reason}") from error


def _limited(lines: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Yield lines of a file that may grow meanwhile, up to `limit` bytes in all."""
    for line in lines:
        limit -= len(line)
        if limit < 0:
            return
        yield line


def parse_cassette(lines: Iterable[bytes], shown: str) -> Cassette:
    """Return the cassette that the lines hold; raises ConfigurationError naming the line."""
    reader = _Reader(shown)
    for line in lines:
        if not line.endswith(b"\n"):
            break  # torn: whoever wrote it was killed, or the disk was full
        reader.take(line)
    return reader.cassette()


class _Reader:
    """Puts calls together from lines, one after the other."""

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._number = 0
        self._header: Header | None = None
        self._calls: list[RecordedCall] = []
        self._seen: set[tuple[str, int]] = set()
        self._orders: set[int] = set()
        self._chunks = 0
        self._open: _OpenCall | None = None
        self._stopped: str | None = None

    def take(self, line: bytes) -> None:
        self._number += 1
        key, value = self._parsed(line)
        if self._header is None:
            if key != "cassette":
                raise self._wrong("does not begin as a cassette does: record one with --record")
            self._header = self._model(Header, value)
        elif self._open is not None:
            self._take_into(self._open, key, value)
        elif key == "call":
            self._open = _OpenCall(self._model(Call, value))
        elif key == "stopped" and isinstance(value, str):
            self._stopped = one_line(value, 200)
        else:
            raise self._wrong(f"{one_line(key, 40)!r} does not belong here")

    def cassette(self) -> Cassette:
        if self._header is None:
            raise ConfigurationError(f"{self._shown}: is empty: record one with --record")
        notes = []
        if self._stopped is not None:
            notes.append(f"{self._shown}: the recording was given up: {self._stopped}")
        elif self._open is not None:
            notes.append(f"{self._shown}: the last call is torn, and left out")
        return Cassette(self._header, tuple(self._calls), tuple(notes))

    def _take_into(self, recorded: "_OpenCall", key: str, value: Any) -> None:
        if key == "timing" and recorded.end is not None:
            self._close(recorded, self._model(Timing, value))
        elif recorded.end is not None:
            raise self._wrong(f"{one_line(key, 40)!r} stands where the timing should")
        elif key == "end":
            recorded.end = self._model(End, value)
        elif key == "request" and recorded.request is None and isinstance(value, dict):
            recorded.request = value
        elif key == "message":
            recorded.messages.append(value)
        elif key in {"chunk", "chunk_base64"} and isinstance(value, str):
            self._chunks += 1
            if self._chunks > MAX_CHUNKS:
                raise self._wrong(f"there are more than {MAX_CHUNKS:,} chunks")
            recorded.chunks.append(self._chunk(key, value))
        else:
            raise self._wrong(f"{one_line(key, 40)!r} does not belong here")

    def _close(self, recorded: "_OpenCall", timing: Timing) -> None:
        call, request = recorded.call, recorded.request
        if request is None or recorded.end is None:
            raise self._wrong("the call has no request")
        if len(timing.chunks) != len(recorded.chunks):
            raise self._wrong("the timing has another number of chunks than the call")
        orders = {timing.start_order, timing.end_order}
        if timing.start_order >= timing.end_order or orders & self._orders:
            raise self._wrong("the order of starts and ends contradicts itself")
        if (call.agent, call.ordinal) in self._seen or len(self._calls) >= MAX_CALLS:
            raise self._wrong("a call stands twice, or there are too many")
        self._orders |= orders
        self._seen.add((call.agent, call.ordinal))
        if recorded.messages:
            request = {**request, "messages": recorded.messages}
        chunks = tuple(recorded.chunks)
        self._calls.append(RecordedCall(call, request, chunks, recorded.end, timing))
        self._open = None

    def _parsed(self, line: bytes) -> tuple[str, Any]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._wrong("is no JSON: the cassette is damaged") from error
        if not isinstance(value, dict) or len(value) != 1:
            raise self._wrong("is no line of a cassette")
        [(key, inner)] = value.items()
        return key, inner

    def _model(self, model: type[T], value: Any) -> T:
        try:
            return model.model_validate(value)
        except (ValidationError, RecursionError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            where = ".".join(map(str, first["loc"])) if first else ""
            what = first["msg"] if first else "nested too deeply"
            raise self._wrong(one_line(f"{where}: {what}", 200)) from error

    def _chunk(self, key: str, value: str) -> bytes:
        try:
            if key == "chunk":
                return value.encode()
            return base64.b64decode(value, validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise self._wrong("the chunk is neither text nor base64") from error

    def _wrong(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._shown}:{self._number}: {what}")


class _OpenCall:
    """A call of which the last line is still to come."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.request: JsonObject | None = None
        self.messages: list[JsonValue] = []
        self.chunks: list[bytes] = []
        self.end: End | None = None
