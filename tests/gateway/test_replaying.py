"""Recording and replaying on a real run socket."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.contract.run_socket import model_path
from runner.contract.spec import Dialect
from runner.contract.status import AgentErrorType
from runner.gateway.cassette import MAX_CASSETTE_BYTES, Cassette, Header, read_cassette
from runner.gateway.recording import CassetteWriter, Recording
from runner.gateway.redaction import Redactor
from runner.gateway.replaying import Replaying, ReplaySettings
from runner.gateway.routes import Route
from runner.gateway.upstream import Upstream
from tests.gateway.serving import KEY, QUICK, Answer, Served, request_body, route_to, run, served
from tests.gateway.test_cassette import recorded as recorded_call
from tests.support.planted_keys import planted_keys, search
from tests.support.provider import (
    CloseAfter,
    Hold,
    NewAnswer,
    Provider,
    Rule,
    Script,
    Silence,
    Status,
    Text,
)

NOWHERE = "http://127.0.0.1:9/v1"
"""Nothing listens on the discard port."""


@asynccontextmanager
async def recorded(
    directory: Path, *routes: Route, key: str = KEY, max_bytes: int = MAX_CASSETTE_BYTES
) -> AsyncIterator[Served]:
    """Serve routes, and record what is asked into `cassette.jsonl`."""
    redact = Redactor([key])
    header = Header(recorded_by="test", question="Why?", config={})
    path = directory / "cassette.jsonl"
    writer = CassetteWriter(path, header, redact, max_bytes=max_bytes)
    upstream = Upstream(retry=QUICK, stall_timeout_seconds=5, redact=redact)
    async with served(directory, *routes, upstream=Recording(upstream, writer)) as it:
        yield it


def cassette_in(directory: Path) -> Cassette:
    return read_cassette(directory / "cassette.jsonl", "cassette.jsonl")


@asynccontextmanager
async def replayed(
    directory: Path,
    agents: Sequence[str] = ("agent_a",),
    said: list[str] | None = None,
    dialect: Dialect = "chat",
    **settings: Any,
) -> AsyncIterator[tuple[Served, Replaying]]:
    """Serve what was recorded; `said` gets the differences."""
    report: list[str] = [] if said is None else said
    options = ReplaySettings(**{"patience_seconds": 5.0, **settings})
    replaying = Replaying(cassette_in(directory), options, report.append)
    routes = [route_to(NOWHERE, dialect, agent_id=agent, key=None) for agent in agents]
    async with served(directory, *routes, upstream=replaying) as it:
        yield it, replaying


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "reply",
    [
        Text("forty-two", 1),
        Text("Grüße \udcff", 1),
        Status(400),
        Status(503, times=9),
        CloseAfter(2),
    ],
    ids=["text", "no utf-8", "refused", "in trouble", "cut"],
)
def test_gives_the_same_answer_again(
    tmp_path: Path, provider: Provider, dialect: Dialect, stream: bool, reply: Any
) -> None:
    """Answers, refusals and broken streams come again byte for byte, without the provider."""
    provider.play(Script.always(reply))

    async def scenario() -> tuple[Answer, Answer]:
        async with recorded(tmp_path, route_to(provider.url, dialect)) as it:
            first = await it.container.ask(dialect=dialect, stream=stream)
        asked = len(provider.requests)
        async with replayed(tmp_path, dialect=dialect, strict=True) as (it, replaying):
            second = await it.container.ask(dialect=dialect, stream=stream)
            assert replaying.first_difference is None
            assert replaying.never_asked() == []
        assert len(provider.requests) == asked
        return first, second

    first, second = run(scenario())
    assert second.body == first.body
    assert (second.status, second.broken) == (first.status, first.broken)


def test_costs_nothing(tmp_path: Path, provider: Provider) -> None:
    """A replayed call is on the books with its status and no tokens."""

    async def scenario() -> dict[str, Any]:
        async with recorded(tmp_path, route_to(provider.url)) as it:
            await it.container.ask()
        (tmp_path / "usage.jsonl").unlink()
        async with replayed(tmp_path) as (it, _):
            await it.container.ask()
            [record] = it.records()
            return record

    record = run(scenario())
    assert (record["end"], record["status"]) == ("complete", 200)
    assert (record["input_tokens"], record["output_tokens"]) == (0, 0)


@pytest.mark.parametrize("speed", [0, 1000])
def test_answers_end_in_the_recorded_order(
    tmp_path: Path, provider: Provider, speed: float
) -> None:
    """Whoever asks first gets the end of its answer only when it was its turn."""
    provider.play(
        Script(rules=(Rule((Hold("go", Text("second")),), contains="agent_a", last_repeats=True),))
    )
    agents = ("agent_a", "agent_b")

    def ask(it: Served, agent: str) -> Any:
        return it.container.ask(agent, messages=[{"role": "user", "content": agent}])

    async def scenario() -> list[str]:
        routes = [route_to(provider.url, agent_id=agent) for agent in agents]
        async with recorded(tmp_path, *routes) as it:
            slow = asyncio.create_task(ask(it, "agent_a"))
            await asyncio.to_thread(provider.log.wait_for_requests, 1)
            await ask(it, "agent_b")
            provider.release("go")
            await slow
        ended: list[str] = []
        async with replayed(tmp_path, agents, speed=speed) as (it, _):

            async def ends(agent: str) -> None:
                await ask(it, agent)
                ended.append(agent)

            await asyncio.gather(ends("agent_a"), ends("agent_b"))
        return ended

    assert run(scenario()) == ["agent_b", "agent_a"]


def test_goes_on_without_what_does_not_come(tmp_path: Path, provider: Provider) -> None:
    """A call that is not made again holds nobody up for ever, and is said."""
    agents = ("agent_a", "agent_b")
    said: list[str] = []

    async def scenario() -> Answer:
        async with recorded(
            tmp_path, *(route_to(provider.url, agent_id=agent) for agent in agents)
        ) as it:
            for agent in agents:
                await it.container.ask(agent)
        async with replayed(tmp_path, agents, said, patience_seconds=0.1) as (it, replaying):
            answer = await it.container.ask("agent_b")
            assert [call.name for call in replaying.never_asked()] == ["call 1 of agent_a"]
            return answer

    assert run(scenario()).status == 200
    assert said == ["Replay: the start of call 1 of agent_a did not come: going on without it"]


def test_an_answer_that_was_cut_by_the_container_waits_for_that(
    tmp_path: Path, provider: Provider
) -> None:
    """What the container did not wait for in the recording does not end in the replay either."""
    provider.play(Script.always(Silence(2)))
    said: list[str] = []

    async def beginning(it: Served) -> bytes:
        async with it.container.session.post(
            "http://gateway" + model_path("agent_a", "chat"), data=request_body()
        ) as response:
            data = b""
            while data.count(b"\n\n") < 1:
                data += await response.content.readany()
            return data

    async def scenario() -> Answer:
        async with recorded(tmp_path, route_to(provider.url)) as it:
            await beginning(it)
        [call] = cassette_in(tmp_path).calls
        assert call.end.kind == "cancelled"
        async with replayed(tmp_path) as (it, _):
            assert (await beginning(it)) in b"".join(call.chunks)
        async with replayed(tmp_path, said=said, patience_seconds=0.1) as (it, _):
            return await it.container.ask()

    answer = run(scenario())
    assert answer.broken
    assert said == [
        "Replay: call 1 of agent_a was ended by the container; now it waits for the answer"
    ]


def test_a_request_that_differs_gets_the_nearest_of_its_step(
    tmp_path: Path, provider: Provider
) -> None:
    """The answer is taken from a call with the same tools, and the difference is said."""
    tool = {"type": "function", "function": {"name": "vote", "parameters": {"type": "object"}}}
    provider.play(Script.always(Text("one"), Text("two"), Text("three")))
    said: list[str] = []

    async def scenario() -> list[Answer]:
        async with recorded(tmp_path, route_to(provider.url)) as it:
            await it.container.ask(seed=1)
            await it.container.ask(seed=2, tools=[tool])
            await it.container.ask(seed=3)
        async with replayed(tmp_path, said=said, patience_seconds=0.1) as (it, _):
            return [
                await it.container.ask(seed=9, tools=[tool]),
                await it.container.ask(seed=3),
                await it.container.ask(seed=3),
                await it.container.ask(seed=3),
            ]

    answers = run(scenario())
    assert [answer.status for answer in answers] == [200, 200, 200, 502]
    for word, answer in zip((b"two", b"three", b"one"), answers, strict=False):
        assert word in answer.body
    assert said[0] == ("Replay: request 1 of agent_a is not call 2 of agent_a: seed: 9, recorded 2")
    assert "request 4 of agent_a: the recording has no more calls of this agent" in said[-1]
    assert answers[3].error.type is AgentErrorType.INTERNAL


def test_strict_refuses_everything_after_a_difference(tmp_path: Path, provider: Provider) -> None:
    """No later request is answered, so that the run ends, and each refusal says why."""

    async def scenario() -> list[Answer]:
        async with recorded(tmp_path, route_to(provider.url)) as it:
            await it.container.ask(seed=1)
            await it.container.ask(seed=2)
        async with replayed(tmp_path, strict=True) as (it, _):
            return [await it.container.ask(seed=7), await it.container.ask(seed=2)]

    for answer in run(scenario()):
        assert answer.status == 502
        assert "seed: 7, recorded 1" in answer.error.message


def test_a_full_cassette_ends_the_recording_and_not_the_run(
    tmp_path: Path, provider: Provider
) -> None:
    """Calls go on; what was written before can be read, with a note."""

    async def scenario() -> list[Answer]:
        async with recorded(tmp_path, route_to(provider.url), max_bytes=8000) as it:
            return [await it.container.ask() for _ in range(8)]

    assert {answer.status for answer in run(scenario())} == {200}
    assert (tmp_path / "cassette.jsonl").stat().st_size <= 8000
    cassette = cassette_in(tmp_path)
    assert 0 < len(cassette.calls) < 8
    assert "the cassette is full" in cassette.notes[0]


@pytest.mark.parametrize("stream", [True, False])
def test_keeps_no_credential_that_a_provider_repeats(
    tmp_path: Path, provider: Provider, stream: bool
) -> None:
    """A key in an answer, whole or in pieces, or in an error, is not in the cassette."""
    keys = planted_keys("TEAM_KEY")
    key = keys["TEAM_KEY"]
    provider.play(
        Script.always(
            Text(f"whole {key}", 100), Text(f"in pieces {key}", 1), Status(400, body=f"no: {key}")
        )
    )

    async def scenario() -> None:
        async with recorded(tmp_path, route_to(provider.url, key=key), key=key) as it:
            for _ in range(3):
                await it.container.ask(stream=stream)

    run(scenario())
    content = (tmp_path / "cassette.jsonl").read_bytes()
    assert search(keys, [("cassette", content)]) == []
    assert len(cassette_in(tmp_path).calls) == 3
    assert stat_mode(tmp_path / "cassette.jsonl") == 0o600


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_many_agents_at_once_are_all_recorded(tmp_path: Path, provider: Provider) -> None:
    """Calls side by side each get their place; starts and ends are counted without a gap."""
    agents = [f"agent_{number}" for number in range(20)]
    provider.play(Script.always(NewAnswer("An answer.", tokens_per_chunk=1)))

    async def scenario() -> None:
        routes = [route_to(provider.url, agent_id=agent) for agent in agents]
        async with recorded(tmp_path, *routes) as it:
            await asyncio.gather(*(it.container.ask(agent) for agent in agents))
        async with replayed(tmp_path, agents, strict=True) as (it, replaying):
            answers = await asyncio.gather(*(it.container.ask(a) for a in reversed(agents)))
            assert {answer.status for answer in answers} == {200}
            assert replaying.first_difference is None

    run(scenario())
    timings = [call.timing for call in cassette_in(tmp_path).calls]
    orders = [order for t in timings for order in (t.start_order, t.end_order)]
    assert sorted(orders) == list(range(2 * len(agents)))
    for line in (tmp_path / "cassette.jsonl").read_text().splitlines():
        json.loads(line)


def test_a_full_disk_ends_the_recording(tmp_path: Path) -> None:
    """What fitted on the disk can be read; the problem is known, and nothing is raised."""
    path = tmp_path / "cassette.jsonl"
    writer = CassetteWriter(path, Header(recorded_by="t", question="q", config={}), Redactor(()))
    call = recorded_call()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        writer.open()
        for number in range(4):
            timing = call.timing.model_copy(
                update={"start_order": 2 * number, "end_order": 2 * number + 1}
            )
            named = call.call.model_copy(update={"ordinal": number + 1})
            writer.add(call._replace(call=named, timing=timing), [(0.0, b"x" * 500)])
        writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert writer.problem
    cassette = cassette_in(tmp_path)
    assert 0 < len(cassette.calls) < 4
    assert "torn" in cassette.notes[0]
