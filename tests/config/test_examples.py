"""The packaged examples: every one is valid, and each is found by name in both spellings."""

import json
from pathlib import Path

import pytest

from runner.config.examples import find_example, list_examples
from runner.config.load import config_from_data, load_config
from runner.config.models import RunConfig
from runner.config.problems import ProblemsError
from runner.config.providers import PROVIDERS


@pytest.mark.parametrize("name", list_examples())
def test_example_is_valid(name: str, tmp_path: Path) -> None:
    """Every example can be run as it is, without so much as a warning."""
    loaded = load_config(name, cwd=tmp_path)
    assert loaded.warnings == ()
    assert name == loaded.path


@pytest.mark.parametrize("name", list_examples())
def test_what_an_example_resolves_to_is_the_same_configuration(name: str, tmp_path: Path) -> None:
    """A resolved configuration, as runs keep it, can be run again and resolves to itself."""
    loaded = load_config(name, cwd=tmp_path)
    again = config_from_data(json.loads(json.dumps(loaded.resolved)), "kept")
    assert again.resolved == loaded.resolved
    assert again.warnings == ()


def test_every_provider_has_examples(tmp_path: Path) -> None:
    """There is a single and a two-agent example for every row of the provider table."""
    configs = [load_config(name, cwd=tmp_path).config for name in list_examples()]

    def types(count: int) -> set[str]:
        return {_only_type(c) for c in configs if len(c.agents) == count}

    assert set(PROVIDERS) <= types(1)
    assert set(PROVIDERS) <= types(2)


def _only_type(config: RunConfig) -> str:
    types = {agent.backend.type for agent in config.agents}
    return types.pop() if len(types) == 1 else ""


@pytest.mark.parametrize(
    "name",
    [
        "@examples/basic/multi/local_two_agents",
        "@examples/basic/multi/local_two_agents.yaml",
        "@examples/configs/basic/multi/local_two_agents",
        "@examples/configs/basic/multi/local_two_agents.yaml",
    ],
)
def test_both_spellings(name: str) -> None:
    """An example is found with and without `configs/`, with and without its suffix."""
    assert find_example(name).name == "local_two_agents.yaml"


@pytest.mark.parametrize(
    "name",
    [
        "@examples/../pyproject",
        "@examples/basic/../../pyproject.toml",
        "@examples//etc/passwd",
        "@examples/",
        "@examples",
        "@examples/basic/multi/\0",
        "@examples/README.md",
    ],
)
def test_no_way_out(name: str) -> None:
    """A name that is no example is refused, also one that leads elsewhere."""
    with pytest.raises(ProblemsError, match="there is no such example"):
        find_example(name)


def test_nearest_example() -> None:
    """A mistyped name is answered with the nearest one."""
    with pytest.raises(ProblemsError, match="'@examples/basic/multi/local_two_agents'"):
        find_example("@examples/basic/multi/local_two_agent")
