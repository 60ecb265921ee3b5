"""A run's process and the host's real gateway, with a provider behind it. Runs on: host."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from runner.contract.spec import AgentSpec
from runner.contract.status import AgentErrorType
from tests.coordination.processes import Ended, agents, running, spec_in
from tests.gateway.serving import MODEL, route_to, run, served
from tests.support.provider import Provider, Rule, Script, Text, forever


def run_through_gateway(
    provider: Provider, directory: Path, members: tuple[AgentSpec, ...], **settings: Any
) -> Ended:
    """Carry a run out whose model calls all go through a gateway to `provider`."""

    async def scenario() -> Ended:
        base = provider.url
        routes = [route_to(base, a.dialect, agent_id=a.id) for a in members]
        spec = spec_in(directory, members, **settings)
        async with served(directory, *routes) as gateway:
            with running(directory, spec, gateway.socket) as started:
                return await asyncio.to_thread(started.end)

    return run(scenario())


def named(*ids: str, **settings: Any) -> tuple[AgentSpec, ...]:
    """Return agents that all use the model which the gateway's routes allow."""
    return tuple(a.model_copy(update={"model": MODEL}) for a in agents(*ids, **settings))


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@pytest.mark.parametrize("decision_mode", ["tools", "json_schema"])
def test_a_run_works_through_the_gateway_and_shows_its_usage(
    provider: Provider, tmp_path: Path, dialect: str, decision_mode: str
) -> None:
    """Both protocols pass; status.json has the tokens that the host counted."""
    members = named("a", "b", dialect=dialect, decision_mode=decision_mode)

    ended = run_through_gateway(provider, tmp_path, members)

    assert ended.exit_code == 0, ended.stderr
    usage = ended.status.usage
    assert usage.calls >= 4
    assert usage.output_tokens > 0
    assert set(usage.by_agent) == {"a", "b"}


@pytest.mark.parametrize(
    ("status", "type_"),
    [(401, AgentErrorType.AUTHENTICATION), (429, AgentErrorType.RATE_LIMIT)],
)
def test_a_refusal_of_the_provider_is_the_agent_s_error(
    provider: Provider, tmp_path: Path, status: int, type_: AgentErrorType
) -> None:
    """The gateway's word for the failure is what status.json says."""
    provider.play(Script(rules=(Rule((forever(status),)),)))

    ended = run_through_gateway(provider, tmp_path, named("a", "b"))

    assert ended.exit_code == 2
    for agent in ended.status.agents.values():
        assert agent.error is not None
        assert agent.error.type is type_


def test_a_restarted_call_is_given_up_at_the_provider(provider: Provider, tmp_path: Path) -> None:
    """What a restart cuts off does not go on costing money."""
    slow = Text("slow " * 100_000, tokens_per_chunk=1, delay_seconds_per_chunk=0.05)
    provider.play(Script(rules=(Rule((slow,), agent=None, step="answer", last_repeats=False),)))

    ended = run_through_gateway(provider, tmp_path, named("a", "b"))

    assert ended.exit_code == 0, ended.stderr
    assert len(provider.requests) >= 4
