"""Names of the files in a log directory, as the guide gives them. Runs on: both sides."""

from pathlib import Path
from typing import NamedTuple

FINAL_SUFFIX = "final"
STAGED_PREFIX = ".new-"
"""Begins the names of copies that have not their place yet; what is left of them is removed."""


class LogLayout(NamedTuple):
    """Paths below one log directory; nothing is read or made here."""

    root: Path

    @property
    def status(self) -> Path:
        return self.root / "status.json"

    @property
    def events(self) -> Path:
        return self.root / "coordination_events.json"

    @property
    def votes(self) -> Path:
        return self.root / "vote.json"

    @property
    def metadata(self) -> Path:
        return self.root / "execution_metadata.yaml"

    @property
    def snapshot_mappings(self) -> Path:
        return self.root / "snapshot_mappings.json"

    @property
    def table(self) -> Path:
        return self.root / "coordination_table.txt"

    @property
    def debug_log(self) -> Path:
        return self.root / "massgen.log"

    @property
    def agent_outputs(self) -> Path:
        return self.root / "agent_outputs"

    @property
    def system_status(self) -> Path:
        return self.agent_outputs / "system_status.txt"

    def agent_output(self, agent_id: str) -> Path:
        return self.agent_outputs / f"{agent_id}.txt"

    def presentation_output(self, agent_id: str) -> Path:
        return self.agent_outputs / f"final_presentation_{agent_id}.txt"

    def snapshot(self, agent_id: str, stamp: str) -> Path:
        """Directory of one answer or vote; `stamp` is YYYYMMDD_HHMMSS_ffffff."""
        return self.root / agent_id / stamp

    def final(self, agent_id: str) -> Path:
        return self.root / "final" / agent_id

    def final_answer(self, agent_id: str) -> Path:
        return self.final(agent_id) / "answer.txt"
