"""Check what a container asks of a model against what its agent may ask. Runs on: host."""

import json
from typing import Any, NamedTuple

from runner.contract.text import one_line
from runner.gateway.refusal import Refusal


class ModelRequest(NamedTuple):
    """A request that may be passed on."""

    body: bytes
    fields: dict[str, Any]
    """What `body` says."""

    stream: bool = False
    """The answer is to come in events."""
    is_gemini: bool = False
    """Of Gemini's own API, which has its limits elsewhere; all others are read alike."""

    def changed(self, **fields: Any) -> "ModelRequest":
        """Return the request with other values for some of its keys."""
        merged = {**self.fields, **fields}
        return self._replace(body=json.dumps(merged).encode(), fields=merged)


def check_request(body: bytes, model: str) -> ModelRequest:
    """Return the request if its body asks for `model` and nothing else; raises Refusal.

    The bytes go through unchanged, so the provider must read in them what was checked here: a key
    that stands twice, or that only differs in case (Go's parsers take it), is refused.
    """
    request = parsed(body)
    for key in request:
        if key not in _CHECKED and key.lower() in {*_CHECKED, "models"}:
            raise Refusal(400, f"the key {one_line(key, 60)!r} is not passed on")
    check_model(request.get("model"), model)
    return ModelRequest(body, request, request.get("stream") is True)


def check_model(asked: Any, model: str) -> None:
    """Raise Refusal unless the model that is asked for is the agent's."""
    if asked != model:
        what = one_line(str(asked), 100)
        raise Refusal(403, f"the model {what!r} is not this agent's: ask for {model!r}")


def parsed(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is, in which no key stands twice; raises Refusal."""
    try:
        request = json.loads(body, object_pairs_hook=_without_repeats)
    except _RepeatedKeyError as error:
        raise Refusal(400, f"the key {one_line(str(error), 60)!r} stands twice") from error
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body is not JSON") from error
    if not isinstance(request, dict):
        raise Refusal(400, "the body is not a JSON object")
    return request


_CHECKED = frozenset({"model", "stream", "max_tokens", "max_completion_tokens", "n"})


class _RepeatedKeyError(Exception):
    pass


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedKeyError(next(name for name in names if names.count(name) > 1))
    return value
