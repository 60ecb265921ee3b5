"""What a provider's refusal means: who is to blame, whether to ask again. Runs on: host."""

import datetime as dt
import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from runner.contract.status import AgentErrorType
from runner.contract.text import one_line
from runner.gateway.refusal import Refusal
from runner.gateway.routes import Route

SAID_CHARS = 300

# What the SDKs of OpenAI and Anthropic ask again after (408, 409, 429, 5xx), without the server
# errors that time does not heal; 425 is RFC 8470's, 529 Anthropic's for "overloaded".
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


def is_retried(status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether asking again may help.

    Both vendors' servers can say `x-should-retry: false`; a `true` does not make an error of the
    request one of the moment. OpenAI answers 429 also when the account has no money left.
    """
    if status not in _RETRIED or headers.get("x-should-retry") == "false":
        return False
    return not (status == 429 and b'"insufficient_quota"' in body)


def retry_after(headers: Mapping[str, str], now: dt.datetime) -> float | None:
    """Return the seconds that the provider asks to wait, None where it does not say."""
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is not None or value is None:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or dt.UTC) - now).total_seconds())


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def said(body: bytes, redact: Callable[[str], str]) -> str:
    """Return the provider's own message in one line, without secrets, shortened."""
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        text = _message(json.loads(text)) or text
    # Masked before it is cut, so that no half of a key is left; and after, in case the controls
    # that were taken out had hidden one.
    return redact(one_line(redact(text), SAID_CHARS))


def _message(value: object) -> str | None:
    """Find the message in the shapes that providers use."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return _message(value[0]) if value else None
    if isinstance(value, dict):
        for key in ("error", "message", "detail", "msg"):
            found = _message(value.get(key))
            if found:
                return found
    return None


def refused(
    route: Route, status: int, headers: Mapping[str, str], message: str, attempts: int
) -> Refusal:
    """Return the error for a provider's final answer; `message` is what it said, made safe."""
    kind, remedy = _meaning(route, status, headers)
    tries = f" after {attempts} attempts" if attempts > 1 else ""
    text = f"{route.provider.name} at {route.origin} answered {status}{tries}"
    return Refusal(
        status if status >= 400 and status < 500 else 502,
        f"{text}: {message}: {remedy}" if message else f"{text}: {remedy}",
        type=kind,
        provider_status=status,
    )


def _meaning(route: Route, status: int, headers: Mapping[str, str]) -> tuple[AgentErrorType, str]:
    if 300 <= status < 400:
        target = one_line(urlsplit(headers.get("location", "")).hostname or "elsewhere", 100)
        return (
            AgentErrorType.PROVIDER,
            f"redirects (to {target}) are not followed with a credential: correct base_url",
        )
    if status in {401, 403}:
        return AgentErrorType.AUTHENTICATION, _credential_remedy(route)
    if status == 404:
        return (
            AgentErrorType.PROVIDER,
            f"probably there is no model {one_line(route.model, 100)}, or base_url is wrong",
        )
    if status == 429:
        return AgentErrorType.RATE_LIMIT, "wait, or look at the account's limits and credit"
    if status < 500:
        return AgentErrorType.PROVIDER, "the request does not suit this model: check its settings"
    return AgentErrorType.PROVIDER, "the provider is in trouble: try again later"


def _credential_remedy(route: Route) -> str:
    if route.credential is None:
        return "no key was sent: name one by api_key"
    return f"check the key {route.credential.variable} from {route.credential.source}"
