"""What counts as a final answer when a run's books are closed."""

from pathlib import Path

import pytest

from runner.contract.log_layout import LogLayout
from runner.host.closing import final_answer_exists


def test_final_answer(tmp_path: Path) -> None:
    """The winner's answer counts when it is a regular file in its place."""
    log = LogLayout(tmp_path)
    log.final("agent_a").mkdir(parents=True)
    assert not final_answer_exists(log, "agent_a")
    log.final_answer("agent_a").write_text("Because.")
    assert final_answer_exists(log, "agent_a")
    assert not final_answer_exists(log, None)


@pytest.mark.parametrize("winner", ["/etc", "../..", "a\nb", "", "x" * 300])
def test_hostile_winner(winner: str, tmp_path: Path) -> None:
    """A winner that cannot be an agent has no answer, whatever lies where its name leads."""
    log = LogLayout(tmp_path)
    assert not final_answer_exists(log, winner)


def test_linked_answer(tmp_path: Path) -> None:
    """A link in the answer's place is no answer."""
    log = LogLayout(tmp_path)
    log.final("agent_a").mkdir(parents=True)
    log.final_answer("agent_a").symlink_to("/etc/hostname")
    assert not final_answer_exists(log, "agent_a")
