"""The reference pages name what the files have. Runs on: host."""

from pathlib import Path
from typing import Any

from runner.contract.events import EventType
from runner.contract.log_layout import LogLayout
from runner.contract.status import AgentErrorType, AgentStatus, Phase, status_schema

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def field_names(schema: Any) -> set[str]:
    """Return the names of all fields in a JSON schema, definitions included."""
    if isinstance(schema, list):
        return {name for part in schema for name in field_names(part)}
    if not isinstance(schema, dict):
        return set()
    own = set(schema.get("properties", {}))
    return own | {name for part in schema.values() for name in field_names(part)}


def test_every_field_of_status_json_is_on_its_page() -> None:
    """A field added to the contract is described."""
    page = (REFERENCE / "status-file.md").read_text()

    missing = {name for name in field_names(status_schema()) if f"`{name}`" not in page}

    assert missing - {"meta", "coordination", "agents", "results"} == set()


def test_every_value_of_a_closed_list_is_on_its_page() -> None:
    """Statuses, phases, error types and event types are listed whole."""
    status_page = (REFERENCE / "status-file.md").read_text()
    log_page = (REFERENCE / "log-directory.md").read_text()

    values = [*AgentStatus, *Phase, *AgentErrorType]
    assert [value for value in values if f"`{value.value}`" not in status_page] == []
    assert [event for event in EventType if f"`{event.value}`" not in log_page] == []


def test_every_file_of_the_layout_is_on_its_page() -> None:
    """The page and the layout in the contract name the same files."""
    page = (REFERENCE / "log-directory.md").read_text()
    layout = LogLayout(Path())

    files = [
        layout.status,
        layout.metadata,
        layout.events,
        layout.table,
        layout.votes,
        layout.snapshot_mappings,
        layout.system_status,
        layout.agent_output("<agent id>"),
        layout.presentation_output("<agent id>"),
        layout.debug_log,
    ]
    assert [str(path) for path in files if f"`{path}`" not in page] == []
