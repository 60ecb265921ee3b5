"""The reference page and the JSON schema say what the models do."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from runner.config.describe import BEGIN, END, json_schema, keys, reference
from runner.config.examples import find_example, list_examples

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


def test_page_is_up_to_date() -> None:
    """The tables of the page are those that the models give."""
    remedy = f"run: python -m runner.config.describe {PAGE.name}"
    inside = PAGE.read_text("utf-8").split(BEGIN)[1].split(END)[0]
    assert inside.strip() == reference().strip(), remedy


def test_every_key_is_described() -> None:
    """No key is without a text, a type and a state."""
    for key in keys():
        assert key.text, key.path
        assert key.kind or key.state in {"not available yet", "refused"}, key.path


@pytest.mark.parametrize("name", list_examples())
def test_schema_accepts_the_examples(name: str) -> None:
    """The published schema accepts every example."""
    data = yaml.safe_load(find_example(name).read_text("utf-8"))
    for agent in data.get("agents") or [data["agent"]]:
        agent["backend"].setdefault("model", "the local one")
    jsonschema.validate(data, json_schema())


def test_schema_refuses_unknown_keys() -> None:
    """The published schema refuses what loading refuses."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"agents": [{"id": "a", "backend": {}}]}, json_schema())
