"""The page on tools says what the definitions do."""

from pathlib import Path

from runner.config.describe import BEGIN, END
from runner.config.describe_tools import tools_table

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "tools.md"


def test_page_is_up_to_date() -> None:
    """The table of the page is the one that models are told."""
    inside = PAGE.read_text("utf-8").split(BEGIN)[1].split(END)[0]
    remedy = f"run: python -m runner.config.describe_tools {PAGE.name}"
    assert inside.strip() == tools_table().strip(), remedy
