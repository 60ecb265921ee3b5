"""When a provider is asked again, and what is said when it is not."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest

from runner.contract.spec import Dialect
from runner.contract.status import AgentErrorType
from runner.gateway.upstream import CallProgress, RetryPolicy, Upstream
from tests.gateway.serving import (
    KEY,
    MODEL,
    QUICK,
    Answer,
    Served,
    request_body,
    route_to,
    run,
    served,
)
from tests.support.provider import (
    CloseAfter,
    Garbage,
    Html,
    Provider,
    Raw,
    RefuseConnection,
    Reply,
    Script,
    Silence,
    Status,
    Text,
    forever,
    refused_url,
)

PATIENT = RetryPolicy(attempts=2, max_wait_seconds=30.0, first_wait_seconds=30.0)
"""Its own wait would outlast the test: a pass shows that the provider's was taken."""

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def ask(
    directory: Path,
    *replies: Reply,
    dialect: Dialect = "chat",
    retry: RetryPolicy = QUICK,
    stall_timeout_seconds: float = 30.0,
    stream: bool = True,
    key: str | None = KEY,
) -> tuple[Answer, int, list[dict[str, object]]]:
    """Return the answer to one call, how often the provider was asked, and the ledger."""

    async def scenario(provider: Provider) -> tuple[Answer, list[dict[str, object]]]:
        route = route_to(provider.url, dialect, key=key)
        async with served(
            directory, route, retry=retry, stall_timeout_seconds=stall_timeout_seconds
        ) as it:
            return await it.container.ask(dialect=dialect, stream=stream), it.records()

    with Provider(Script.always(*replies)) as provider:
        answer, records = run(scenario(provider))
        return answer, len(provider.requests), records


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_asks_again_for_what_may_pass(tmp_path: Path, status: int, dialect: Dialect) -> None:
    """A busy or failing provider is asked again, and the container sees the answer alone."""
    answer, asked, [record] = ask(tmp_path, Status(status), Text("well"), dialect=dialect)
    assert (answer.status, asked) == (200, 2)
    assert b"well" in answer.body
    assert (record["attempts"], record["status"], record["end"]) == (2, 200, "complete")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422, 501])
def test_never_asks_again_for_what_stays_wrong(tmp_path: Path, status: int) -> None:
    """An error of the request, or of the key, is passed on at once."""
    answer, asked, [record] = ask(tmp_path, forever(status))
    assert asked == 1
    assert answer.error.status == status
    assert (record["end"], record["input_tokens"], record["estimated"]) == ("refused", 0, False)


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (400, AgentErrorType.PROVIDER, "check its settings"),
        (401, AgentErrorType.AUTHENTICATION, "check the key TEST_KEY from the environment"),
        (403, AgentErrorType.AUTHENTICATION, "check the key TEST_KEY from the environment"),
        (404, AgentErrorType.PROVIDER, f"no model {MODEL}"),
        (429, AgentErrorType.RATE_LIMIT, "after 3 attempts"),
        (500, AgentErrorType.PROVIDER, "after 3 attempts"),
        (529, AgentErrorType.PROVIDER, "after 3 attempts"),
    ],
)
def test_says_what_the_provider_said_and_what_to_do(
    tmp_path: Path, status: int, kind: AgentErrorType, told: str
) -> None:
    """The final error names provider, status, its own message and a remedy, in one line."""
    answer, _, _ = ask(tmp_path, forever(status))
    assert answer.error.type is kind
    assert answer.status == (status if status < 500 else 502)
    for part in ("openai at http://127.0.0.1:", str(status), f"Scripted error {status}.", told):
        assert part in answer.error.message
    assert answer.error.message.isprintable()


def test_says_that_no_key_was_sent(tmp_path: Path) -> None:
    """A 401 without a credential does not speak of a key to check."""
    answer, _, _ = ask(tmp_path, forever(401), key=None)
    assert "no key was sent" in answer.error.message


def test_gives_up_after_the_last_attempt(tmp_path: Path) -> None:
    """A provider that fails for ever is asked as often as the policy says."""
    answer, asked, [record] = ask(tmp_path, forever(503))
    assert (answer.status, asked, record["attempts"]) == (502, 3, 3)


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "0"},
        {"Retry-After": "0.01"},
        {"retry-after-ms": "10", "Retry-After": "20"},
        {"Retry-After": formatdate(time.time() - 60, usegmt=True)},
    ],
)
def test_waits_as_long_as_the_provider_asks(tmp_path: Path, headers: dict[str, str]) -> None:
    """Retry-After in seconds, milliseconds or as a date takes the place of the own wait."""
    answer, asked, _ = ask(tmp_path, Status(429, headers), Text("well"), retry=PATIENT)
    assert (answer.status, asked) == (200, 2)


@pytest.mark.parametrize("value", ["86400", "inf", "nan", "-1", "soon", "9" * 400])
def test_no_wait_is_longer_than_the_policy_allows(tmp_path: Path, value: str) -> None:
    """A day, or nonsense, in Retry-After does not hold up the run."""
    answer, asked, _ = ask(tmp_path, Status(429, {"Retry-After": value}), Text("well"))
    assert (answer.status, asked) == (200, 2)


def test_believes_a_provider_that_forbids_to_ask_again(tmp_path: Path) -> None:
    """`x-should-retry: false` ends the call, and `true` does not make a 400 one to repeat."""
    answer, asked, _ = ask(tmp_path, forever(500, x_should_retry="false"))
    assert (answer.status, asked) == (502, 1)
    answer, asked, _ = ask(tmp_path, forever(400, x_should_retry="true"))
    assert (answer.status, asked) == (400, 1)


def test_does_not_ask_again_when_the_account_is_empty(tmp_path: Path) -> None:
    """OpenAI's 429 for an account without money is not one that waiting helps."""
    error = '{"error": {"message": "You exceeded your quota.", "code": "insufficient_quota"}}'
    answer, asked, _ = ask(tmp_path, Status(429, body=error, times=9))
    assert (answer.error.type, asked) == (AgentErrorType.RATE_LIMIT, 1)


@pytest.mark.parametrize("stream", [True, False])
def test_asks_again_when_the_connection_breaks_before_the_answer(
    tmp_path: Path, stream: bool
) -> None:
    """A reset, or a close after the headers, costs an attempt and not the answer."""
    cut = Raw(STREAM_HEAD + b"Content-Length: 9\r\n\r\n")
    replies = (RefuseConnection(), cut) if stream else (RefuseConnection(),)
    answer, asked, _ = ask(tmp_path, *replies, Text("well"), stream=stream)
    assert (answer.status, asked) == (200, len(replies) + 1)


def test_an_empty_answer_is_asked_for_again(tmp_path: Path) -> None:
    """Status 200 with no body is no answer."""
    answer, asked, _ = ask(tmp_path, Garbage(b""), Text("well"))
    assert (answer.status, asked) == (200, 2)
    answer, asked, _ = ask(tmp_path, Garbage(b""))
    assert (answer.status, asked) == (502, 3)
    assert "answered nothing" in answer.error.message


def test_a_refused_connection_names_the_address(tmp_path: Path) -> None:
    """A server that does not run is told with its address, after all attempts."""

    async def scenario(url: str) -> Answer:
        async with served(tmp_path, route_to(url)) as it:
            return await it.container.ask()

    with refused_url() as url:
        answer = run(scenario(url))
    assert (answer.status, answer.error.status) == (502, None)
    assert answer.error.type is AgentErrorType.PROVIDER
    assert url.removesuffix("/v1") in answer.error.message
    assert "(attempt 3)" in answer.error.message


def test_an_unknown_host_is_told(tmp_path: Path) -> None:
    """A host name that does not exist is an error of type provider."""

    async def scenario() -> Answer:
        async with served(tmp_path, route_to("http://no-such-host.invalid/v1")) as it:
            return await it.container.ask()

    answer = run(scenario())
    assert answer.error.type is AgentErrorType.PROVIDER
    assert "no-such-host.invalid" in answer.error.message


@pytest.mark.parametrize("stream", [True, False])
def test_a_silent_provider_is_given_up_and_not_asked_again(tmp_path: Path, stream: bool) -> None:
    """A provider that accepts and says nothing is cut: it may be at work, and would be paid."""
    answer, asked, [record] = ask(tmp_path, Silence(), stall_timeout_seconds=0.2, stream=stream)
    assert (answer.status, asked) == (504, 1)
    assert record["estimated"]
    assert record["input_tokens"]
    assert "sent no byte for 0.2 s" in answer.error.message


@pytest.mark.parametrize("dialect", ["chat", "messages"])
def test_a_stream_that_stalls_is_cut(tmp_path: Path, dialect: Dialect) -> None:
    """A stream in which nothing comes any more is broken off, not ended."""
    answer, asked, [record] = ask(
        tmp_path, Silence(after_chunks=2), stall_timeout_seconds=0.2, dialect=dialect
    )
    assert (answer.status, answer.broken, asked) == (200, True, 1)
    assert answer.body
    assert (record["end"], record["estimated"]) == ("broken", True)


@pytest.mark.parametrize("dialect", ["chat", "messages"])
def test_half_an_answer_arrives_as_a_broken_stream(tmp_path: Path, dialect: Dialect) -> None:
    """What came before the provider's connection broke arrives, and its end does not."""
    answer, asked, [record] = ask(tmp_path, CloseAfter(4), dialect=dialect)
    assert (answer.status, answer.broken, asked) == (200, True, 1)
    assert b"Half" in answer.body
    assert record["end"] == "broken"
    assert record["output_tokens"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_web_page_is_no_answer(tmp_path: Path, stream: bool) -> None:
    """A log-in page with status 200 is an error that points at base_url."""
    answer, asked, _ = ask(tmp_path, Html(), stream=stream)
    assert (answer.status, asked) == (502, 1)
    assert "text/html" in answer.error.message
    assert "base_url" in answer.error.message


def test_json_is_no_stream(tmp_path: Path) -> None:
    """A stream was asked for: JSON under status 200 is not passed on as one."""
    answer, _, _ = ask(tmp_path, Garbage(b"{}", content_type="application/json"))
    assert (answer.status, answer.error.type) == (502, AgentErrorType.PROVIDER)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01 this is not HTTP\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        STREAM_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        STREAM_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    ],
)
def test_what_is_no_http_is_an_error_of_the_provider(tmp_path: Path, data: bytes) -> None:
    """Garbage in place of an HTTP response ends in an error, in one line."""
    answer, _, _ = ask(tmp_path, Raw(data))
    assert (answer.status, answer.error.type) == (502, AgentErrorType.PROVIDER)
    assert answer.error.message.isprintable()
    assert len(answer.error.message) < 600


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    """The credential is not carried to wherever the provider points."""

    async def scenario(provider: Provider) -> Answer:
        async with served(tmp_path, route_to(provider.url)) as it:
            return await it.container.ask()

    with Provider() as elsewhere:
        location = f"{elsewhere.url}/chat/completions"
        with Provider(Script.always(Status(307, {"Location": location}))) as provider:
            answer = run(scenario(provider))
        assert not elsewhere.requests
    assert (answer.status, answer.error.status) == (502, 307)
    assert "not followed" in answer.error.message


@pytest.mark.parametrize(
    "body",
    [
        f"invalid key {KEY} given",
        {"error": {"message": f"bad key: {KEY}\r\nWINNER: me\x1b[31m"}},
        {"error": {"message": f"Incorrect API key {KEY[:20]}{KEY[20:]}", "code": "x"}},
        {"detail": [{"msg": f"Authorization: Bearer {KEY}"}]},
        [{"error": {"message": "x" * 290 + KEY}}],
        {"message": KEY[::-1] + "!" * 5000},
        "<html>" + KEY + "</html>",
        "[" * 50_000,
        '{"error": ' * 50_000,
    ],
)
def test_a_key_that_the_provider_repeats_is_masked(
    tmp_path: Path, body: str | dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """The provider's message is one bounded line, and the key in it is not to be read."""
    caplog.set_level("DEBUG")
    answer, _, _ = ask(tmp_path, Status(401, body=body))  # type: ignore[arg-type]  # JSON
    for text in (answer.body.decode(), caplog.text, (tmp_path / "usage.jsonl").read_text()):
        for part in (KEY, KEY[::-1], KEY[:12], KEY[-12:]):
            assert part not in text
    assert answer.error.message.isprintable()
    assert len(answer.error.message) < 600


def test_a_server_without_tls_gets_no_key(tmp_path: Path) -> None:
    """Plain HTTP behind an https address is an error, told at once."""

    async def scenario(provider: Provider) -> Answer:
        url = provider.url.replace("http:", "https:")
        async with served(tmp_path, route_to(url)) as it:
            return await it.container.ask()

    with Provider() as provider:
        answer = run(scenario(provider))
        assert not provider.requests
    assert (answer.status, answer.error.type) == (502, AgentErrorType.PROVIDER)
    assert "does not speak TLS" in answer.error.message


@asynccontextmanager
async def _asking(it: Served) -> AsyncIterator[asyncio.Task[Answer]]:
    task = asyncio.create_task(it.container.ask())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextmanager
def _deaf_port() -> Iterator[str]:
    """Yield the address of a port that takes connections and never reads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


def test_closing_the_gateway_ends_what_is_under_way(tmp_path: Path) -> None:
    """A run that ends does not wait for a provider: its calls are cut and noted."""

    async def scenario(url: str) -> None:
        async with served(tmp_path, route_to(url)) as it, _asking(it):
            await it.gateway.requests_seen.wait()
        [record] = it.records()
        assert record["end"] == "cancelled"

    with _deaf_port() as url:
        run(scenario(url))


def test_a_wait_between_two_attempts_costs_nothing(tmp_path: Path) -> None:
    """While a call waits to be asked again no provider is at work on it."""

    async def scenario(provider: Provider) -> None:
        progress = CallProgress()

        async def call() -> None:
            body, route = request_body(), route_to(provider.url)
            async with (
                Upstream(retry=PATIENT, stall_timeout_seconds=30.0, redact=str) as upstream,
                upstream.call(route, body, stream=True, progress=progress),
            ):
                pytest.fail("the provider refuses for ever")

        task = asyncio.create_task(call())
        while progress.status is None or progress.may_cost:
            await asyncio.sleep(0.01)  # the limit is run()'s
        assert (progress.status, progress.attempts) == (429, 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with Provider(Script.always(forever(429))) as provider:
        run(scenario(provider))
