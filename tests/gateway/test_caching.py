"""Identical requests are paid for once."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runner.contract.spec import Dialect
from runner.gateway.caching import MAX_CACHE_BYTES, Caching
from runner.gateway.redaction import Redactor
from runner.gateway.routes import Route
from runner.gateway.upstream import Upstream
from tests.gateway.serving import KEY, QUICK, Answer, route_to, run, served
from tests.support.provider import CloseAfter, Provider, Script, Status, StreamError, Text, Tokens


async def asked(
    directory: Path, *routes: Route, times: int = 2, max_bytes: int = MAX_CACHE_BYTES, **fields: Any
) -> tuple[list[Answer], list[dict[str, Any]]]:
    """Ask the same in that many runs, each with a gateway of its own; return the ended calls."""
    answers, records = [], []
    for _ in range(times):
        redact = Redactor([KEY])
        upstream = Upstream(retry=QUICK, stall_timeout_seconds=5, redact=redact)
        caching = Caching(upstream, directory / "responses", redact, max_bytes=max_bytes)
        async with served(directory, *routes, upstream=caching) as it:
            for route in routes:
                answers.append(
                    await it.container.ask(route.agent_id, route.provider.dialect, **fields)
                )
        ledger = directory / "usage.jsonl"
        records += [json.loads(line) for line in ledger.read_text().splitlines()]
        ledger.unlink()
    return answers, [record for record in records if record["state"] == "settled"]


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@pytest.mark.parametrize("stream", [True, False])
def test_asks_the_provider_once(
    tmp_path: Path, provider: Provider, dialect: Dialect, stream: bool
) -> None:
    """The second answer is the first byte for byte, marked in the ledger, and costs nothing."""
    provider.play(Script.always(Text("forty-two", usage=Tokens(300, 20))))
    route = route_to(provider.url, dialect)
    answers, records = run(asked(tmp_path, route, stream=stream))
    assert len(provider.requests) == 1
    assert answers[0].body == answers[1].body
    assert [record["cached_response"] for record in records] == [False, True]
    assert [record["status"] for record in records] == [200, 200]
    assert records[1]["input_tokens"] == records[1]["output_tokens"] == 0


def test_keeps_answers_for_the_user_alone(tmp_path: Path, provider: Provider) -> None:
    """Nobody else can look into the directory."""
    run(asked(tmp_path, route_to(provider.url)))
    assert (tmp_path / "responses").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "reply",
    [CloseAfter(2), StreamError(after_chunks=1), Status(400), Text(f"It is {KEY}.", 1)],
    ids=["cut", "error in the stream", "refused", "credential in pieces"],
)
def test_keeps_whole_answers_without_credentials_only(
    tmp_path: Path, provider: Provider, reply: Any
) -> None:
    """What broke, failed or holds a key is asked for again."""
    provider.play(Script.always(reply))
    run(asked(tmp_path, route_to(provider.url)))
    assert len(provider.requests) == 2
    assert list((tmp_path / "responses").iterdir()) == []


def test_what_differs_is_asked_for(tmp_path: Path, provider: Provider) -> None:
    """Another parameter, provider or address is another request; another agent is not."""
    with Provider() as other:
        routes = [
            route_to(provider.url),
            route_to(provider.url, agent_id="agent_b"),
            route_to(other.url, agent_id="agent_c"),
        ]
        run(asked(tmp_path, *routes))
        run(asked(tmp_path, *routes, times=1, seed=7))
        assert len(provider.requests) == 2
        assert len(other.requests) == 2


@pytest.mark.parametrize("spoilt", [b"", b"{}\n", b"\0" * 100, None])
def test_a_spoilt_answer_counts_as_none(
    tmp_path: Path, provider: Provider, spoilt: bytes | None
) -> None:
    """A file that is damaged, or a FIFO, is replaced by what the provider says."""
    route = route_to(provider.url)
    run(asked(tmp_path, route, times=1))
    [file] = (tmp_path / "responses").iterdir()
    file.unlink()
    if spoilt is None:
        os.mkfifo(file)
    else:
        file.write_bytes(spoilt)
    answers, _ = run(asked(tmp_path, route))
    assert {answer.status for answer in answers} == {200}
    assert len(provider.requests) == 2


def test_makes_room(tmp_path: Path, provider: Provider) -> None:
    """When there is too much, what was used longest ago goes."""
    responses = tmp_path / "responses"
    responses.mkdir()
    for number in range(10):
        file = responses / f"{number}.jsonl"
        file.write_bytes(b"x" * 1000)
        os.utime(file, (number, number))
    run(asked(tmp_path, route_to(provider.url), times=1, max_bytes=8000))
    left = {file.name for file in responses.iterdir()}
    assert sum(file.stat().st_size for file in responses.iterdir()) <= 4000
    assert not left & {f"{number}.jsonl" for number in range(7)}
    assert any(len(name) > 60 for name in left)
