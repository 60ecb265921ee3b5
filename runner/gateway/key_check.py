"""Ask providers whether they take a key, by a call that costs nothing. Runs on: host."""

import asyncio
from collections.abc import Sequence
from typing import Literal, NamedTuple

import aiohttp

from runner.contract.text import one_line
from runner.gateway import answers
from runner.gateway.redaction import Redactor
from runner.gateway.routes import Route
from runner.gateway.upstream import connector, proxy_for

CHECK_SECONDS = 15.0
_MAX_BODY_BYTES = 64 * 1024

Verdict = Literal["valid", "refused", "unreachable", "unclear"]


class KeyCheck(NamedTuple):
    """What a provider said to a key."""

    verdict: Verdict
    said: str = ""
    """In one line, without the key; empty where the key is valid."""


async def check_keys(
    routes: Sequence[Route], *, timeout_seconds: float = CHECK_SECONDS
) -> Sequence[KeyCheck]:
    """Try the credential of every route, all at once; the answers are in the same order."""
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    async with aiohttp.ClientSession(
        connector=connector(None), timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        return await asyncio.gather(*(_check(session, route) for route in routes))


async def _check(session: aiohttp.ClientSession, route: Route) -> KeyCheck:
    redact = Redactor([route.credential.reveal()] if route.credential else [])
    url = route.key_check_url
    try:
        async with session.get(
            url,
            headers={**route.headers(), "User-Agent": "massgen-runner"},
            allow_redirects=False,  # the credential would go along
            proxy=proxy_for(url),
        ) as response:
            body = await response.content.read(_MAX_BODY_BYTES)
            return _judged(response.status, answers.said(body, redact))
    except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
        slow = isinstance(error, TimeoutError)
        reason = "no answer in time" if slow else one_line(redact(str(error)), 200)
        return KeyCheck("unreachable", reason or type(error).__name__)


def _judged(status: int, said: str) -> KeyCheck:
    if 200 <= status < 300:
        return KeyCheck("valid")
    what = f"answered {status}: {said}" if said else f"answered {status}"
    # Google answers 400 to a key that it does not know.
    if status in {401, 403} or (status == 400 and "api key" in said.lower()):
        return KeyCheck("refused", what)
    return KeyCheck("unclear", what)
