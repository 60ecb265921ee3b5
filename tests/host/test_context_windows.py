"""What the run container is told of its models' windows. Runs on: host."""

from collections.abc import Mapping

from runner.config.models import RunConfig
from runner.gateway.pricing import FREE, Price
from runner.host.run_spec import context_windows


def windows(prices: Mapping[str, Price], **backend: object) -> Mapping[str, int]:
    """Return the windows of a run with one agent."""
    given = {"type": "openai", "model": "gpt-5-mini", **backend}
    config = RunConfig.model_validate({"agents": [{"id": "agent_a", "backend": given}]})
    return context_windows(config, lambda: prices)


def test_a_window_is_the_configured_one_or_that_of_the_price_list() -> None:
    """`context_tokens` counts first; a model that nobody knows has none."""
    listed = {"agent_a": Price(FREE, "a list", context_tokens=400_000)}

    assert windows(listed, cwd="w") == {"agent_a": 400_000}
    assert windows(listed, cwd="w", context_tokens=9000) == {"agent_a": 9000}
    assert windows({}, cwd="w") == {}


def test_the_price_list_is_not_opened_for_agents_that_only_talk() -> None:
    """Reading it takes a quarter of a second, and their conversations are short."""
    listed = {"agent_a": Price(FREE, "a list", context_tokens=400_000)}

    assert windows(listed) == {}


def test_the_local_model_has_its_share_of_the_server() -> None:
    """Its window is in the provider table."""
    assert windows({}, type="local", model="m") == {"agent_a": 8192}
