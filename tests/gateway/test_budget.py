"""Budgets on the run socket: real calls, real sockets, a provider that can be told to lie."""

import asyncio
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from runner.contract.status import AgentErrorType
from runner.gateway.books import Books, Budget
from runner.gateway.budget import Account, Limits, picousd
from runner.gateway.ledger import Ledger, read_ledger
from runner.gateway.model_request import check_request
from runner.gateway.pricing import Price, Rates
from runner.gateway.refusal import Refusal
from tests.gateway.serving import MODEL, Answer, container_at, request_body, route_to, run, served
from tests.support.provider import (
    CloseAfter,
    Garbage,
    Hold,
    Provider,
    Rule,
    Script,
    Text,
    Tokens,
    forever,
)

MICRO = Decimal("0.000001")
PRICE = Price(Rates(*(n * MICRO for n in (1, 2, 1, 1, 1, 2))), "the test")
"""A dollar for a million tokens read, two for a million written."""
NAMES = [f"agent_{number}" for number in range(64)]


def usd_budget(usd: float, **limits: Any) -> Budget:
    return Budget(Limits(picousd=picousd(usd), **limits))


def replying(*replies: Any) -> Script:
    return Script(rules=(Rule(tuple(replies)),))


def last_request(provider: Provider) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(provider.requests[-1].body)
    return body


def test_a_call_is_set_aside_settled_and_shown(provider: Provider, tmp_path: Path) -> None:
    """While it lasts, a call's worst case is set aside; afterwards there is its cost."""
    provider.play(replying(Hold("it", then=Text("Yes.", usage=Tokens(100, 50)))))

    async def scenario() -> None:
        async with served(
            tmp_path,
            route_to(provider.url),
            prices={"agent_a": PRICE},
            budget=usd_budget(1),
        ) as it:
            asking = asyncio.ensure_future(it.container.ask(max_tokens=1000))
            await asyncio.to_thread(provider.log.wait_for_requests, 1)
            held = it.gateway.usage()
            assert held.cost_usd is None
            assert held.reserved_usd is not None
            assert 0.003 < held.reserved_usd < 0.006
            (call,) = read_ledger(it.ledger).calls
            assert call.state == "open"
            assert call.cost_usd == held.reserved_usd
            provider.release("it")
            await asking
            usage = it.gateway.usage()
            assert (usage.cost_usd, usage.reserved_usd, usage.budget_usd) == (0.0002, 0.0, 1.0)
            assert usage.by_agent["agent_a"].cost_usd == 0.0002

    run(scenario())


def test_a_call_that_does_not_fit_is_refused_with_figures(
    provider: Provider, tmp_path: Path
) -> None:
    """The provider is not asked, and the container learns how much there was and is."""

    async def scenario() -> Answer:
        async with served(
            tmp_path, route_to(provider.url), prices={"agent_a": PRICE}, budget=usd_budget(0.01)
        ) as it:
            answer = await it.container.ask(max_tokens=100_000)
            assert it.gateway.usage().calls == 0
            return answer

    answer = run(scenario())
    assert answer.status == 402
    assert answer.error.type is AgentErrorType.BUDGET
    assert "0.0000 USD of 0.0100 USD used" in answer.error.message
    assert not provider.requests


@pytest.mark.parametrize(
    ("dialect", "key"), [("chat", "max_completion_tokens"), ("messages", "max_tokens")]
)
def test_a_reply_without_a_limit_gets_one(
    provider: Provider, tmp_path: Path, dialect: Any, key: str
) -> None:
    """Its name is the provider's; it is what the money is enough for, or the model's longest."""

    async def scenario(usd: float, price: Price) -> int:
        body = json.loads(request_body(dialect))
        body.pop("max_tokens", None)
        async with served(
            tmp_path,
            route_to(provider.url if dialect == "chat" else provider.root_url + "/v1", dialect),
            prices={"agent_a": price},
            budget=usd_budget(usd),
        ) as it:
            await it.container.ask(dialect=dialect, body=json.dumps(body).encode())
        return int(last_request(provider)[key])

    assert 3000 < run(scenario(0.01, PRICE)) < 5000
    assert run(scenario(1000, PRICE._replace(max_output_tokens=9000))) == 9000
    assert run(scenario(1000, PRICE)) == 16_384


def test_a_budget_in_tokens_needs_no_price(provider: Provider, tmp_path: Path) -> None:
    """The reply is limited to a share of what is left, and what does not fit is refused."""
    provider.play(replying(Text("Yes.", usage=Tokens(1000, 4000))))
    routes = [route_to(provider.url, agent_id=name) for name in NAMES[:2]]

    async def scenario() -> list[int]:
        async with served(tmp_path, *routes, budget=Budget(Limits(tokens=20_000))) as it:
            statuses = [(await it.container.ask(NAMES[n % 2])).status for n in range(5)]
            assert it.gateway.usage().cost_usd is None
            return statuses

    statuses = run(scenario())
    assert 7000 < json.loads(provider.requests[0].body)["max_completion_tokens"] < 10_000
    assert statuses == [200, 200, 200, 200, 402]


def test_a_container_that_hangs_up_while_it_waits_leaves_its_place(
    provider: Provider, tmp_path: Path
) -> None:
    """A call that was never let out costs nothing, is noted nowhere, and holds nobody up."""
    provider.play(replying(Hold("first", then=Text("A.", usage=Tokens(10, 10)))))
    routes = [route_to(provider.url, agent_id=name) for name in NAMES[:2]]

    async def scenario() -> None:
        async with served(
            tmp_path, *routes, prices=dict.fromkeys(NAMES, PRICE), budget=usd_budget(0.03)
        ) as it:
            first = asyncio.ensure_future(it.container.ask(NAMES[0], max_tokens=10_000))
            await asyncio.to_thread(provider.log.wait_for_requests, 1)
            waiting = asyncio.ensure_future(it.container.ask(NAMES[1], max_tokens=10_000))
            await it.container.request("GET", "/usage")
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            provider.release("first")
            assert (await first).status == 200
            assert (await it.container.ask(NAMES[1], max_tokens=10_000)).status == 200
            assert it.gateway.usage().calls == 2
            assert len(read_ledger(it.ledger).calls) == 2

    run(scenario())


def test_without_a_budget_a_request_goes_through_unchanged(
    provider: Provider, tmp_path: Path
) -> None:
    """Prices alone change nothing of what is sent, byte for byte."""
    body = request_body() + b"  "

    async def scenario() -> None:
        async with served(tmp_path, route_to(provider.url), prices={"agent_a": PRICE}) as it:
            await it.container.ask(body=body)
            assert it.gateway.usage().cost_usd
            assert it.gateway.usage().budget_usd is None

    run(scenario())
    assert provider.requests[0].body == body


def test_usage_is_asked_for_where_a_budget_depends_on_it(
    provider: Provider, tmp_path: Path
) -> None:
    """A client that does not ask for the usage of a stream gets it with a budget."""

    async def scenario() -> None:
        async with served(
            tmp_path, route_to(provider.url), prices={"agent_a": PRICE}, budget=usd_budget(1)
        ) as it:
            await it.container.ask(max_tokens=10)
            assert not it.records()[0]["estimated"]

    run(scenario())
    assert last_request(provider)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    "fields",
    [
        {"web_search_options": {}},
        {"service_tier": "priority"},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": ["function"]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        {"messages": [{"role": "user", "content": {"type": "document"}}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "content": [{"type": "image"}]}],
                }
            ]
        },
        {"messages": [{"role": "assistant", "audio": {"id": "a"}}]},
        {"system": [{"type": "document"}]},
        {"some_new_key": 1},
        {"max_tokens": -1},
        {"max_tokens": "9"},
        {"max_tokens": True},
        {"n": 0},
        {"n": 10**6},
        {"Max_Tokens": 5},
        {"best_of": 3},
    ],
)
def test_what_has_no_known_cost_is_refused(
    provider: Provider, tmp_path: Path, fields: dict[str, Any]
) -> None:
    """With a budget, nothing goes out whose cost the tokens of text do not bound."""

    async def scenario() -> int:
        async with served(
            tmp_path, route_to(provider.url), prices={"agent_a": PRICE}, budget=usd_budget(1)
        ) as it:
            return (await it.container.ask(**fields)).status

    assert run(scenario()) in {400, 402}
    assert not provider.requests


def test_several_replies_at_once_are_all_set_aside(provider: Provider, tmp_path: Path) -> None:
    """`n` multiplies what a call may cost."""

    async def scenario(n: int) -> int:
        async with served(
            tmp_path, route_to(provider.url), prices={"agent_a": PRICE}, budget=usd_budget(0.05)
        ) as it:
            return (await it.container.ask(max_tokens=10_000, n=n)).status

    assert [run(scenario(n)) for n in (1, 3)] == [200, 402]


def test_a_call_waits_for_what_others_may_give_back(provider: Provider, tmp_path: Path) -> None:
    """Two agents whose worst cases do not fit together both get their turn."""
    usage = Tokens(10, 10)
    provider.play(replying(Hold("first", then=Text("A.", usage=usage)), Text("B.", usage=usage)))
    routes = [route_to(provider.url, agent_id=name) for name in NAMES[:2]]

    async def scenario() -> None:
        async with served(
            tmp_path, *routes, prices=dict.fromkeys(NAMES, PRICE), budget=usd_budget(0.03)
        ) as it:
            first = asyncio.ensure_future(it.container.ask(NAMES[0], max_tokens=10_000))
            await asyncio.to_thread(provider.log.wait_for_requests, 1)
            second = asyncio.ensure_future(it.container.ask(NAMES[1], max_tokens=10_000))
            await it.container.request("GET", "/usage")
            assert len(provider.requests) == 1
            provider.release("first")
            assert [(await call).status for call in (first, second)] == [200, 200]

    run(scenario())


def test_limits_of_an_agent_leave_the_others_theirs(provider: Provider, tmp_path: Path) -> None:
    """An agent that has used up its own share is refused; another goes on."""
    routes = [route_to(provider.url, agent_id=name) for name in NAMES[:2]]

    async def scenario() -> list[int]:
        async with served(tmp_path, *routes, budget=Budget(per_agent=Limits(calls=2))) as it:
            asked = (NAMES[0], NAMES[0], NAMES[0], NAMES[1])
            return [(await it.container.ask(name)).status for name in asked]

    assert run(scenario()) == [200, 200, 402, 200]


def test_a_tree_of_runs_shares_what_its_root_may_use(provider: Provider, tmp_path: Path) -> None:
    """What one run takes is gone for another below the same account."""
    root = Account("the runs above", Limits(calls=3))
    budget = Budget(Limits(calls=2), parent=root)

    async def scenario(directory: Path) -> list[int]:
        directory.mkdir()
        async with served(directory, route_to(provider.url), budget=budget) as it:
            return [(await it.container.ask()).status for _ in range(3)]

    assert run(scenario(tmp_path / "1")) == [200, 200, 402]
    assert run(scenario(tmp_path / "2")) == [200, 402, 402]


def test_a_provider_that_counts_more_than_it_may_closes_the_budget(
    provider: Provider, tmp_path: Path
) -> None:
    """Its count is kept in full, everybody is told, and nothing more goes out."""
    provider.play(replying(Text("Yes.", usage=Tokens(10, 5000))))
    said: list[str] = []

    async def scenario() -> tuple[int, int]:
        async with served(
            tmp_path,
            route_to(provider.url),
            prices={"agent_a": PRICE},
            budget=usd_budget(1),
            notify=said.append,
        ) as it:
            statuses = [(await it.container.ask(max_tokens=100)).status for _ in range(2)]
            usage = it.gateway.usage()
            assert usage.cost_usd == 0.01001
            assert usage.budget_note == said[0]
            return statuses[0], statuses[1]

    assert run(scenario()) == (200, 402)
    assert len(said) == 1
    assert "is closed" in said[0]


@pytest.mark.parametrize("usage", [{"prompt_tokens": -5, "completion_tokens": -5}, {}, None])
def test_what_a_provider_does_not_count_is_estimated_within_what_was_set_aside(
    provider: Provider, tmp_path: Path, usage: Any
) -> None:
    """Without usable numbers the text is counted, and the budget is neither closed nor fooled."""
    events = [{"choices": [{"delta": {"content": "word " * 999}}]}, {"choices": [], "usage": usage}]
    lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events)

    async def scenario() -> dict[str, Any]:
        provider.play(replying(Garbage(lines.encode(), content_type="text/event-stream")))
        async with served(
            tmp_path, route_to(provider.url), prices={"agent_a": PRICE}, budget=usd_budget(1)
        ) as it:
            await it.container.ask(max_tokens=500)
            assert (await it.container.ask(max_tokens=500)).status == 200
            return it.records()[0]

    record = run(scenario())
    assert record["estimated"]
    assert record["output_tokens"] == 500
    assert record["cost_usd"] > 0.001


def test_the_warning_comes_once(provider: Provider, tmp_path: Path) -> None:
    """From 80 % on, people hear of it a single time, and status readers see it."""
    said: list[str] = []

    async def scenario() -> None:
        async with served(
            tmp_path, route_to(provider.url), budget=Budget(Limits(calls=10)), notify=said.append
        ) as it:
            for number in range(1, 11):
                assert bool(it.gateway.usage().budget_note) == (number > 8)
                await it.container.ask()

    run(scenario())
    assert said == ["80 % of the budget of this run is used: 8 calls of 10 calls"]


@pytest.mark.parametrize(
    "reply", [forever(500), CloseAfter(2), Text("slow " * 5000, delay_seconds_per_chunk=0.01)]
)
def test_however_a_call_ends_what_was_set_aside_is_given_back(
    provider: Provider, tmp_path: Path, reply: Any
) -> None:
    """Errors, broken streams and containers that hang up leave nothing reserved for ever."""
    provider.play(replying(reply))

    async def scenario() -> None:
        async with served(
            tmp_path, route_to(provider.url), prices={"agent_a": PRICE}, budget=usd_budget(1)
        ) as it:
            asking = asyncio.ensure_future(it.container.ask(max_tokens=1000))
            await asyncio.to_thread(provider.log.wait_for_requests, 1)
            if isinstance(reply, Text):
                asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            while it.gateway.usage().reserved_usd:
                await asyncio.sleep(0.01)
            (call,) = read_ledger(it.ledger).calls
            assert call.state == "settled"
            assert it.gateway.usage().calls == 1

    run(scenario())


def test_what_an_earlier_gateway_left_open_counts_as_set_aside(
    provider: Provider, tmp_path: Path
) -> None:
    """After a kill, what may have been spent is taken as spent, and said."""
    provider.play(replying(Text("Yes.", usage=Tokens(10, 10))))

    async def scenario() -> None:
        async with served(
            tmp_path, route_to(provider.url), prices={"agent_a": PRICE}, budget=usd_budget(0.03)
        ) as it:
            await it.container.ask(max_tokens=10_000)
        path = tmp_path / "usage.jsonl"
        opened = path.read_text().splitlines(keepends=True)[0]
        path.write_text(opened)
        async with served(
            tmp_path, route_to(provider.url), prices={"agent_a": PRICE}, budget=usd_budget(0.03)
        ) as it:
            assert it.gateway.usage().open_calls == 1
            assert it.gateway.usage().cost_usd == json.loads(opened)["cost_usd"]
            assert (await it.container.ask(max_tokens=10_000)).status == 402

    run(scenario())


def test_no_budget_lets_a_call_out_that_it_cannot_note() -> None:
    """Without room for the ledger, a run with a budget calls nobody; one without goes on."""
    asked = check_request(request_body(), MODEL)
    route = route_to("http://127.0.0.1:1/v1")

    async def scenario(budget: Budget) -> None:
        async with Ledger(Path("/dev/full")) as ledger:
            await Books("r", ledger, {"agent_a": None}, budget).open(route, asked)

    run(scenario(Budget()))
    with pytest.raises(Refusal, match="cannot be written"):
        run(scenario(Budget(Limits(calls=5))))


@pytest.mark.slow
def test_sixty_four_agents_at_once_never_exceed_the_budget(
    provider: Provider, tmp_path: Path
) -> None:
    """Calls of 64 agents, streamed on the real socket, some hung up on: the sum stays below."""
    chance = random.Random(7)  # noqa: S311  # repeatable, no secret
    usage = Tokens(400, 900)
    provider.play(
        replying(
            *(
                chance.choice(
                    [
                        Text("word " * 60, delay_seconds_per_chunk=0.002, usage=usage),
                        Text("short", usage=Tokens(5, 5)),
                        CloseAfter(1),
                        Text("word " * 300, delay_seconds_per_chunk=0.01, usage=usage),
                    ]
                )
                for _ in range(400)
            )
        )
    )
    routes = [route_to(provider.url, agent_id=name) for name in NAMES]
    limit = 0.12
    seen: list[float] = []

    async def scenario() -> None:
        async with served(
            tmp_path, *routes, prices=dict.fromkeys(NAMES, PRICE), budget=usd_budget(limit)
        ) as it:

            async def agent(name: str) -> int:
                refused = 0
                async with container_at(it.socket) as container:
                    for _ in range(4):
                        asking = asyncio.ensure_future(container.ask(name, max_tokens=1000))
                        if chance.random() < 0.3:
                            await asyncio.wait([asking], timeout=chance.random() / 20)
                            asking.cancel()
                        results = await asyncio.gather(asking, return_exceptions=True)
                        answer = results[0]
                        refused += isinstance(answer, Answer) and answer.status == 402
                        now = it.gateway.usage()
                        seen.append((now.cost_usd or 0) + (now.reserved_usd or 0))
                return refused

            refused = sum(await asyncio.gather(*map(agent, NAMES)))
            assert refused > 0, "the budget was never used up"
            while it.gateway.usage().reserved_usd:
                await asyncio.sleep(0.01)
            spent = it.gateway.usage().cost_usd
            assert spent is not None
            assert limit / 2 < spent <= limit

    run(scenario())
    assert max(seen) <= limit + 1e-9
    calls = read_ledger(tmp_path / "usage.jsonl").calls
    assert len({call.call_id for call in calls}) == len(calls)
    assert all(call.state == "settled" for call in calls)
    assert sum(picousd(call.cost_usd or 0) for call in calls) <= picousd(limit)
