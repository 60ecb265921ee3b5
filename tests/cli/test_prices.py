"""`massgen-runner prices`, as a person and as a program meets it."""

import json
from pathlib import Path

import pytest

from tests.support.massgen import Completed, Project

OWN = "openai/gpt-5-mini: {input: 0.5, output: 4.25, max_output_tokens: 128000}\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def prices(project: Project, *arguments: str) -> Completed:
    return project.massgen("prices", *arguments, program="massgen-runner")


def write_own(project: Project, text: str) -> Path:
    path = project.home / ".config" / "massgen" / "prices.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_one_model(project: Project) -> None:
    """A model's price is shown with its tiers and the place that it is from."""
    done = prices(project, "claude/claude-sonnet-4-5")
    assert done.exit_code == 0
    first, base, long, source = done.stdout.splitlines()
    assert first == "claude/claude-sonnet-4-5"
    assert base.startswith("  input 3, output 15, read from the cache 0.3, ")
    assert long.startswith("  calls with more than 200,000 tokens of input: input 6, ")
    assert source.startswith("  genai-prices ")
    assert "anthropic/claude-sonnet-4-5, https://" in source


def test_own_price(project: Project) -> None:
    """A price of one's own replaces the list's, and its file is named."""
    path = write_own(project, OWN)
    done = prices(project, "openai/gpt-5-mini")
    assert done.stdout.splitlines() == [
        "openai/gpt-5-mini",
        "  input 0.5, output 4.25, in USD for a million tokens",
        "  longest reply: 128,000 tokens",
        f"  {path}",
    ]


def test_all_that_is_known(project: Project) -> None:
    """Without a model there is a line for each that has a price, one's own first."""
    write_own(project, OWN)
    done = prices(project)
    heading, first, *rest = done.stdout.splitlines()
    assert heading.split() == ["input", "output", "cached", "USD", "for", "a", "million", "tokens"]
    assert first.split() == ["0.5", "4.25", "0.5", "openai/gpt-5-mini"]
    assert len(rest) > 500
    assert not [line for line in rest if line.endswith(" openai/gpt-5-mini")]


def test_for_programs(project: Project) -> None:
    """With --json there is a list of numbers and places, one for each provider of the model."""
    done = prices(project, "gpt-4o", "--json")
    found = {price["model"]: price for price in json.loads(done.stdout)}
    assert {"openai/gpt-4o", "azure_openai/gpt-4o"} <= found.keys()
    assert found["openai/gpt-4o"]["usd_per_million_tokens"] == {
        "input": 2.5,
        "output": 10,
        "cached_input": 1.25,
        "cache_write": 2.5,
        "cache_write_hour": 2.5,
        "reasoning": 10,
    }


def test_models_of_a_configuration(project: Project) -> None:
    """With --config the models of a run are priced as the run would be, each once."""
    project.write_config("http://127.0.0.1:1/v1", runner={"prices": {"vllm/m": _price(1, 2)}})
    done = prices(project, "--config", "config.yaml")
    assert done.stdout.splitlines()[:3] == [
        "chatcompletion/model-agent_a",
        "  input 0, output 0, in USD for a million tokens",
        "  free: chatcompletion runs on a machine of your own",
    ]
    assert prices(project, "--config", "config.yaml", "vllm/m").stdout.splitlines()[-1] == (
        "  config.yaml: runner.prices"
    )


def test_no_price(project: Project) -> None:
    """A model without a price ends with 1, its name and what to write where."""
    project.write_config("https://models.example.com/v1", agents=["agent_a"])
    for arguments, name in (
        (["openai/none\x1b[31m"], "openai/none"),
        (["--config", "config.yaml"], "chatcompletion/model-agent_a"),
    ):
        done = prices(project, *arguments)
        assert done.exit_code == 1
        assert done.stdout == ""
        assert done.stderr.startswith(f"Error: '{name}': no price is known: write PROVIDER/MODEL:")


def test_bad_price_file(project: Project) -> None:
    """A price file with nonsense in it is named with line and key, and nothing is shown."""
    path = write_own(project, "openai/m: {input: -1, output: 1}\n")
    done = prices(project)
    assert (done.exit_code, done.stdout) == (1, "")
    problem = "openai/m.input: -1 is out of range (allowed: 0 to 100000)"
    assert done.stderr == f"Error: {path}:1: {problem}\n"


def _price(read: float, written: float) -> dict[str, float]:
    return {"input": read, "output": written}
