"""The most that a model request can take, before it is sent. Runs on: host.

Every tokenizer in use turns each byte of a text into one token at most. A request's own bytes, with
room for what providers put around them, are therefore more than its input; they are much more than
it, which costs nothing but room that is given back when the call is settled.
"""

import json
from typing import Any, NamedTuple

from runner.contract.status import AgentErrorType
from runner.contract.text import one_line
from runner.gateway.model_request import ModelRequest
from runner.gateway.refusal import Refusal

PROVIDERS_OWN_TOKENS = 1024
"""For what providers add: the words around messages and tools."""
MAX_REPLIES = 128
LENGTH_KEYS = ("max_tokens", "max_completion_tokens")
_GEMINI_LENGTH_KEYS = ("maxOutputTokens",)

# What bounds, or does not change, what a call costs. Everything else could add what no list of
# token prices says: searches, tools of the provider's own, dearer queues, other models.
_KNOWN_KEYS = frozenset(
    {
        *("model", "messages", "system", "stream", "stream_options", "n", *LENGTH_KEYS),
        *("temperature", "top_p", "top_k", "min_p", "stop", "stop_sequences", "seed"),
        *("random_seed", "presence_penalty", "frequency_penalty", "repetition_penalty"),
        *("reasoning", "reasoning_effort", "thinking", "verbosity", "text", "chat_template_kwargs"),
        *("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"),
        *("response_format", "output_config", "logprobs", "top_logprobs", "logit_bias"),
        *("user", "metadata", "store", "prompt_cache_key", "safety_identifier", "safe_prompt"),
        "cache_control",
    }
)
_KNOWN_GEMINI_KEYS = frozenset(
    {"contents", "systemInstruction", "generationConfig", "safetySettings", "tools", "toolConfig"}
)
_KNOWN_GEMINI_SETTINGS = frozenset(
    {
        *("temperature", "topP", "topK", "seed", "stopSequences", "candidateCount"),
        *("maxOutputTokens", "presencePenalty", "frequencyPenalty", "thinkingConfig"),
        *("responseMimeType", "responseSchema", "responseJsonSchema", "_responseJsonSchema"),
        *("responseLogprobs", "logprobs"),
    }
)
_GEMINI_TEXT_PARTS = frozenset(
    {"text", "thought", "thoughtSignature", "functionCall", "functionResponse"}
)
_SERVICE_TIERS = frozenset({"default", "flex", "standard_only"})
_TOOLS = frozenset({"function", "custom"})
# A picture or a document of few bytes can be many tokens.
_TEXT_PARTS = frozenset(
    {"text", "refusal", "thinking", "redacted_thinking", "tool_use", "tool_result"}
)


class WorstCase(NamedTuple):
    """Upper bounds for one call."""

    input_tokens: int
    output_tokens: int | None
    """Of one reply; None: the request sets no limit."""
    replies: int = 1

    @property
    def all_output_tokens(self) -> int:
        """Of all replies together; 0 where there is no limit."""
        return (self.output_tokens or 0) * self.replies


def worst_case(request: ModelRequest) -> WorstCase:
    """Return the most that a request can take. Raises Refusal where nobody can tell."""
    fields = request.fields
    if request.is_gemini:
        fields = fields.get("generationConfig", {})
    keys = _GEMINI_LENGTH_KEYS if request.is_gemini else LENGTH_KEYS
    lengths = [_whole(fields, key) for key in keys if fields.get(key) is not None]
    replies = 1 if request.is_gemini or fields.get("n") is None else _whole(fields, "n")
    if replies > MAX_REPLIES:
        raise Refusal(400, f"n: {replies} replies at once (allowed: 1 to {MAX_REPLIES})")
    return WorstCase(
        _text_bytes(request) + PROVIDERS_OWN_TOKENS, max(lengths, default=None), replies
    )


def refuse_unbounded(request: ModelRequest) -> None:
    """Raise Refusal for a request whose cost its text and its limit do not bound."""
    fields = request.fields
    if request.is_gemini:
        _refuse_unbounded_gemini(fields)
        return
    for key in fields:
        if key not in _KNOWN_KEYS and key != "service_tier":
            raise _unbounded(one_line(key, 60))
    if fields.get("service_tier") not in {None, *_SERVICE_TIERS}:
        raise _unbounded("service_tier")
    for tool in _dicts(fields.get("tools")):
        # Tools that the provider runs itself are paid by the call, and add to the input.
        _require(tool.get("type", "custom"), _TOOLS, "the tool")
    for message in _dicts(fields.get("messages")):
        if "audio" in message:
            raise _unbounded("audio")
        _require_text(message.get("content"))
    _require_text(fields.get("system"))


def _refuse_unbounded_gemini(fields: dict[str, Any]) -> None:
    for known, given in (
        (_KNOWN_GEMINI_KEYS, fields),
        (_KNOWN_GEMINI_SETTINGS, fields.get("generationConfig", {})),
        # Tools that the provider runs itself are paid by the call, and add to the input.
        *((frozenset({"functionDeclarations"}), tool) for tool in _dicts(fields.get("tools"))),
    ):
        for key in given:
            _require(key, known, "the key")
    for content in _dicts([*_list(fields.get("contents")), fields.get("systemInstruction")]):
        for part in _dicts(content.get("parts")):
            for key in part:
                _require(key, _GEMINI_TEXT_PARTS, "a part with")
            # A function's result may hold pictures, in parts of its own.
            for result in _dicts(part.get("functionResponse")):
                if "parts" in result:
                    raise _unbounded("a part with 'functionResponse.parts'")


def _require_text(content: Any) -> None:
    """Raise Refusal for parts of a message that are no text."""
    for part in _dicts(content):
        _require(part.get("type", "text"), _TEXT_PARTS, "a part of type")
        if part.get("type") == "tool_result":
            _require_text(part.get("content"))


def _require(kind: Any, allowed: frozenset[str], what: str) -> None:
    if not isinstance(kind, str) or kind not in allowed:
        raise _unbounded(f"{what} {one_line(str(kind), 40)!r}")


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _unbounded(what: str) -> Refusal:
    return Refusal(
        402,
        f"{what}: not passed on in a run with a budget, because its cost has no known limit",
        type=AgentErrorType.BUDGET,
    )


def _whole(fields: dict[str, Any], key: str) -> int:
    value = fields[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 10**9:
        raise Refusal(400, f"{key} is no whole number above 0")
    return value


def _text_bytes(request: ModelRequest) -> int:
    """Return the bytes of a request without JSON's escapes."""
    if b"\\u" not in request.body:
        return len(request.body)
    text = json.dumps(request.fields, ensure_ascii=False, separators=(",", ":"))
    return min(len(request.body), len(text.encode("utf-8", "surrogatepass")))
