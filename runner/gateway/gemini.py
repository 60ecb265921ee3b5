"""Gemini's own API, as far as it differs: where a call goes, and what bounds it. Runs on: host.

Model and streaming are in the path, limits and sampling in `generationConfig`. Google's servers
take two spellings of each key (`maxOutputTokens`, `max_output_tokens`); of those that count here
only the first is passed on.
"""

from typing import Any
from urllib.parse import quote, urlsplit

from runner.contract.text import one_line
from runner.gateway.model_request import ModelRequest, parsed
from runner.gateway.refusal import Refusal
from runner.gateway.routes import Route

PROVIDER = "gemini"
"""The provider that has this API beside Chat Completions."""
_CONFIG = "generationConfig"
_OWN_SPELLING = frozenset({_CONFIG, "maxOutputTokens", "candidateCount", "model"})
_CHAT_PATHS = ("/chat/completions", "/openai")


def native_route(route: Route, *, stream: bool) -> Route:
    """Return where a call of Gemini's own API goes, of an agent whose calls go to `route`."""
    parts = urlsplit(route.url)
    base = parts.path
    for path in _CHAT_PATHS:
        base = base.removesuffix(path)
    method, query = ("streamGenerateContent", "alt=sse") if stream else ("generateContent", "")
    model = quote(bare_model(route.model), safe="")
    url = parts._replace(path=f"{base}/models/{model}:{method}", query=query).geturl()
    provider = route.provider._replace(auth="x-goog-api-key")
    return route._replace(url=url, provider=provider, native_gemini=True)


def bare_model(model: str) -> str:
    """Return a model's name without the collection that it may be written with."""
    return model.removeprefix("models/")


def check_gemini(body: bytes, *, stream: bool) -> ModelRequest:
    """Return the request if its limits can be read in one way only; raises Refusal."""
    fields = parsed(body)
    config = fields.get(_CONFIG, {})
    if not isinstance(config, dict):
        raise Refusal(400, f"{_CONFIG} is not a JSON object")
    for key in (*fields, *config):
        _require_own_spelling(key)
    if "model" in fields:
        raise Refusal(400, "the key 'model' is not passed on: the path names the model")
    if config.get("candidateCount") not in (None, 1):
        raise Refusal(400, "candidateCount: one reply to a call is the most")
    return ModelRequest(body, fields, stream, is_gemini=True)


def _require_own_spelling(key: str) -> None:
    for own in _OWN_SPELLING:
        if key != own and key.replace("_", "").lower() == own.lower():
            raise Refusal(400, f"the key {one_line(key, 60)!r} is not passed on: write {own!r}")


def limited(fields: dict[str, Any], length: int) -> dict[str, Any]:
    """Return what changes in a request whose reply is limited to `length` tokens."""
    return {_CONFIG: {**fields.get(_CONFIG, {}), "maxOutputTokens": length}}
