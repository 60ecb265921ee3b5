"""The page on providers says what the table does."""

import re
from pathlib import Path

from runner.config.describe import BEGIN, END
from runner.config.describe_providers import providers_table
from runner.config.providers import PROVIDERS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "reference" / "providers.md"


def test_page_is_up_to_date() -> None:
    """The table of the page is the one that the code uses."""
    inside = PAGE.read_text("utf-8").split(BEGIN)[1].split(END)[0]
    remedy = f"run: python -m runner.config.describe_providers {PAGE.name}"
    assert inside.strip() == providers_table().strip(), remedy


def test_every_provider_has_its_row() -> None:
    """Nothing of the table is left out."""
    named = re.findall(r"^\| `([a-z_]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert named == ["type", *PROVIDERS]
