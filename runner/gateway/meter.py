"""Read the tokens of a model call while its bytes pass. Runs on: host.

Nothing is parsed but the few lines that hold a usage report, so that a token costs next to
nothing. What a provider reports is hostile input: clamped, never trusted to be a number.
"""

import json
import re
from typing import Any, NamedTuple, TypeGuard

from runner.contract.agent_socket import AgentDialect

MAX_TOKENS = 10_000_000
"""More than any call can have; a report above it is cut to it."""

_MAX_LINE_BYTES = 1024 * 1024
_MAX_BODY_BYTES = 16 * 1024 * 1024
_LAST_BYTES = 128
_LAST_WORDS: dict[AgentDialect, bytes | None] = {
    "chat": b"data: [DONE]",
    "messages": b"event: message_stop",
    "gemini": None,  # its streams just end
}
_BYTES_PER_TOKEN = 4
_TEXT = re.compile(
    rb'"(?:content|reasoning_content|reasoning|text|thinking|partial_json|arguments)"'
    rb'\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)'
)


class Tokens(NamedTuple):
    """Tokens of one call."""

    input: int = 0
    output: int = 0
    cached: int = 0
    """Part of the input: read from the provider's cache."""
    estimated: bool = False
    """The provider did not report them, or the call ended before it could."""
    cache_written: int = 0
    """Part of the input: put into the provider's cache."""
    cache_written_hour: int = 0
    """Part of `cache_written`: to be kept there for an hour."""
    reasoning: int = 0
    """Part of the output: what the model thought."""
    is_odd: bool = False
    """The provider reported a number that no call can have: clamped, or not believed."""


class Meter:
    """Counts one call: `feed` every chunk of the answer, then ask for `tokens`."""

    def __init__(self, dialect: AgentDialect, *, stream: bool, request_bytes: int) -> None:
        self._dialect = dialect
        self._stream = stream
        self._last_word = _LAST_WORDS[dialect]
        self._usage = b'"usageMetadata"' if dialect == "gemini" else b'"usage"'
        self._request_bytes = request_bytes
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._text_bytes = 0
        self._reported = Tokens()
        self._final = False
        self._odd = False
        self.is_complete = False
        """The stream has said its last word, whether or not the connection has ended."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the answer; they may end anywhere."""
        self._text_bytes += sum(map(len, _TEXT.findall(chunk)))
        if not self._stream:
            self._keep(chunk, _MAX_BODY_BYTES)
            return
        self.is_complete = self._last_word is not None and self._last_word in chunk[-_LAST_BYTES:]
        end = chunk.rfind(b"\n") + 1
        if end:
            self._read_lines(b"".join((*self._parts, chunk[:end])))
            self._parts, self._parts_bytes = [], 0
            chunk = chunk[end:]
        self._keep(chunk, _MAX_LINE_BYTES)

    def tokens(self) -> Tokens:
        """Return what is known by now; what was not reported is estimated from the bytes."""
        rest = b"".join(self._parts)
        if self._stream:
            self._read_lines(rest)
        else:
            self._read_report(rest)
        reported = self._reported._replace(is_odd=self._odd)
        says_nothing = not reported.output and self._text_bytes
        if self._final and not says_nothing:
            return reported
        return reported._replace(
            input=reported.input or _estimate(self._request_bytes),
            output=max(reported.output, _estimate(self._text_bytes)),
            estimated=True,
        )

    def _keep(self, chunk: bytes, limit: int) -> None:
        self._parts_bytes += len(chunk)
        if self._parts_bytes > limit:  # no usage report is that long: forget the line
            self._parts.clear()
        elif chunk:
            self._parts.append(chunk)

    def _read_lines(self, lines: bytes) -> None:
        if self._usage not in lines:
            return
        for line in lines.splitlines():
            if line.startswith(b"data:") and self._usage in line:
                self._read_report(line[5:])

    def _read_report(self, text: bytes) -> None:
        try:
            report = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(report, dict):
            return
        if self._dialect == "gemini":
            self._read_gemini(report)
            return
        if self._dialect == "messages":
            self._read_messages(report)
        else:
            self._read_chat(report)

    def _read_chat(self, report: dict[str, Any]) -> None:
        # Groq has put the usage of a stream below a key of its own.
        usage = _mapping(report, "usage") or _mapping(_mapping(report, "x_groq"), "usage")
        if not usage:
            return
        prompt = self._count(usage, "prompt_tokens")
        cached = self._count(_mapping(usage, "prompt_tokens_details"), "cached_tokens")
        # Some count reasoning in the total alone.
        output = max(
            self._count(usage, "completion_tokens"), self._count(usage, "total_tokens") - prompt
        )
        self._merge(
            Tokens(
                input=prompt,
                output=output,
                cached=max(cached, self._count(usage, "prompt_cache_hit_tokens")),
                reasoning=self._count(
                    _mapping(usage, "completion_tokens_details"), "reasoning_tokens"
                ),
            )
        )
        has_output = _is_count(usage.get("completion_tokens")) or _is_count(
            usage.get("total_tokens")
        )
        self._final = has_output and _is_count(usage.get("prompt_tokens"))

    def _read_messages(self, report: dict[str, Any]) -> None:
        start = report.get("type") == "message_start"
        usage = _mapping(_mapping(report, "message") if start else report, "usage")
        if not usage:
            return
        cached = self._count(usage, "cache_read_input_tokens")
        written = self._count(usage, "cache_creation_input_tokens")
        kept = _mapping(usage, "cache_creation")
        self._merge(
            Tokens(
                input=self._count(usage, "input_tokens") + cached + written,
                output=self._count(usage, "output_tokens"),
                cached=cached,
                cache_written=written,
                cache_written_hour=self._count(kept, "ephemeral_1h_input_tokens"),
                reasoning=self._count(_mapping(usage, "output_tokens_details"), "thinking_tokens"),
            )
        )
        self._final = self._final or (not start and _is_count(usage.get("output_tokens")))

    def _read_gemini(self, report: dict[str, Any]) -> None:
        usage = _mapping(report, "usageMetadata")
        if not usage:
            return
        tokens_in = self._count(usage, "promptTokenCount")
        tokens_in += self._count(usage, "toolUsePromptTokenCount")
        thoughts = self._count(usage, "thoughtsTokenCount")
        tokens_out = self._count(usage, "candidatesTokenCount") + thoughts
        total = self._count(usage, "totalTokenCount")
        self._merge(
            Tokens(
                input=tokens_in,
                output=max(tokens_out, total - tokens_in),
                cached=self._count(usage, "cachedContentTokenCount"),
                reasoning=thoughts,
            )
        )
        # Every event of a stream reports; the last one says why the reply, if any, has ended.
        candidates = report.get("candidates")
        first = candidates[0] if isinstance(candidates, list) and candidates else None
        has_ended = "finishReason" in first if isinstance(first, dict) else not candidates
        self._final = self._final or (has_ended and _is_count(usage.get("totalTokenCount")))

    def _merge(self, report: Tokens) -> None:
        # Reports are cumulative: the largest is the last, and a later one may leave fields out.
        before = self._reported
        tokens_in = max(min(report.input, MAX_TOKENS), before.input)
        tokens_out = max(min(report.output, MAX_TOKENS), before.output)
        cached = max(min(report.cached, tokens_in), before.cached)
        written = max(min(report.cache_written, tokens_in - cached), before.cache_written)
        self._reported = Tokens(
            input=tokens_in,
            output=tokens_out,
            cached=cached,
            cache_written=written,
            cache_written_hour=max(
                min(report.cache_written_hour, written), before.cache_written_hour
            ),
            reasoning=max(min(report.reasoning, tokens_out), before.reasoning),
        )

    def _count(self, usage: dict[str, Any], key: str) -> int:
        """Return a number of tokens; one that no call can have is clamped, and remembered."""
        value = usage.get(key)
        if _is_count(value):
            return int(value)
        self._odd = self._odd or value is not None
        return MAX_TOKENS if isinstance(value, int | float) and value > MAX_TOKENS else 0


def _estimate(size: int) -> int:
    return -(-size // _BYTES_PER_TOKEN)


def _mapping(value: dict[str, Any], key: str) -> dict[str, Any]:
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def _is_count(value: Any) -> TypeGuard[int | float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= MAX_TOKENS  # not NaN
