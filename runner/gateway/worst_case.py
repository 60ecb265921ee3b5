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

# Each makes a call cost what no list of token prices says, or makes its input unlike its bytes.
_UNBOUNDED_KEYS = frozenset(
    {
        *("audio", "best_of", "container", "inference_geo", "mcp_servers", "modalities", "plugins"),
        *("prediction", "provider", "route", "search_parameters", "speed", "transforms"),
        *("web_search_options", "extra_body"),
    }
)
_SERVICE_TIERS = frozenset({"default", "flex", "standard_only"})
_BY_REFERENCE = frozenset({"url", "file_id", "file_url", "image_url", "file_uri"})


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
    lengths = [_whole(fields, key) for key in LENGTH_KEYS if fields.get(key) is not None]
    replies = _whole(fields, "n") if fields.get("n") is not None else 1
    if replies > MAX_REPLIES:
        raise Refusal(400, f"n: {replies} replies at once (allowed: 1 to {MAX_REPLIES})")
    return WorstCase(
        _text_bytes(request) + PROVIDERS_OWN_TOKENS, max(lengths, default=None), replies
    )


def refuse_unbounded(fields: dict[str, Any]) -> None:
    """Raise Refusal for a request whose cost its text and its limit do not bound."""
    for key in fields:
        if key in _UNBOUNDED_KEYS:
            raise _unbounded(key)
    if fields.get("service_tier") not in {None, *_SERVICE_TIERS}:
        raise _unbounded("service_tier")
    tools = fields.get("tools")
    for tool in tools if isinstance(tools, list) else []:
        # Tools that the provider runs itself are paid by the call, and put text into the input.
        if isinstance(tool, dict) and tool.get("type", "custom") not in {"function", "custom"}:
            raise _unbounded(f"the tool {one_line(str(tool.get('type')), 40)!r}")
    _refuse_references(fields.get("messages"))
    _refuse_references(fields.get("system"))


def _refuse_references(value: Any) -> None:
    """Raise Refusal for media that are only named: their size is not known here."""
    pending = [value]
    while pending:
        at = pending.pop()
        if isinstance(at, list):
            pending.extend(at)
        elif isinstance(at, dict):
            for key, inner in at.items():
                if key in {"arguments", "input"}:  # of a tool call: text
                    continue
                if key in _BY_REFERENCE and isinstance(inner, str) and inner[:5] != "data:":
                    raise _unbounded(f"{key} of something that is not in the request")
                pending.append(inner)


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
    text = json.dumps(request.fields, ensure_ascii=False, separators=(",", ":"))
    return min(len(request.body), len(text.encode("utf-8", "surrogatepass")))
