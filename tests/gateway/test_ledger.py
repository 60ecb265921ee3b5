"""usage.jsonl and the sums."""

import json
import logging
from pathlib import Path

import pytest

from runner.gateway.ledger import CallRecord, Ledger
from tests.gateway.serving import route_to, run, served
from tests.support.provider import Provider, Script


def record(agent_id: str, model: str, tokens: int) -> CallRecord:
    return CallRecord(
        run_id="r",
        agent_id=agent_id,
        provider="openai",
        model=model,
        started=1.0,
        ended=2.0,
        end="complete",
        status=200,
        attempts=1,
        input_tokens=tokens,
        output_tokens=2 * tokens,
        cached_tokens=1,
        estimated=False,
    )


def test_adds_up_by_agent_and_by_model(tmp_path: Path) -> None:
    """The sums of agents and of models are those of the whole, and of the lines on the disk."""
    path = tmp_path / "usage.jsonl"

    async def scenario() -> Ledger:
        async with Ledger(path) as ledger:
            for agent, model, tokens in (("a", "m", 10), ("b", "m", 20), ("a", "n", 30)):
                ledger.add(record(agent, model, tokens))
        return ledger

    usage = run(scenario()).usage()
    assert (usage.calls, usage.input_tokens, usage.output_tokens) == (3, 60, 120)
    assert usage.cost_usd is None
    assert {name: u.input_tokens for name, u in usage.by_agent.items()} == {"a": 40, "b": 20}
    assert {name: u.input_tokens for name, u in usage.by_model.items()} == {"m": 30, "n": 30}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sum(line["output_tokens"] for line in lines) == usage.output_tokens
    assert path.stat().st_mode & 0o077 == 0


def test_a_link_in_place_of_the_ledger_is_refused(tmp_path: Path) -> None:
    """The ledger is not written through a link."""
    (tmp_path / "usage.jsonl").symlink_to(tmp_path / "elsewhere")

    async def scenario() -> None:
        async with Ledger(tmp_path / "usage.jsonl"):
            pass

    with pytest.raises(OSError, match=r"usage\.jsonl"):
        run(scenario())


def test_a_full_disk_does_not_stop_the_count(caplog: pytest.LogCaptureFixture) -> None:
    """Without room for the ledger the sums stay right, and the log says so."""

    async def scenario() -> Ledger:
        async with Ledger(Path("/dev/full")) as ledger:
            ledger.add(record("a", "m", 10))
        return ledger

    with caplog.at_level(logging.WARNING):
        assert run(scenario()).usage().input_tokens == 10
    assert "could not be noted" in caplog.text


def test_names_the_providers_request_id(tmp_path: Path) -> None:
    """The provider's own name for a call is kept, in one safe line."""

    async def scenario(provider: Provider) -> dict[str, object]:
        async with served(tmp_path, route_to(provider.url)) as it:
            await it.container.ask()
            return it.records()[0]

    with Provider() as provider:
        provider.play(Script(headers={"x-request-id": "req_1" * 99}))
        request_id = run(scenario(provider))["request_id"]
    assert isinstance(request_id, str)
    assert request_id.startswith("req_1")
    assert len(request_id) <= 128
