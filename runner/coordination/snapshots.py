"""Directories of answers and votes, and of the final answer. Runs on: the run container."""

import datetime as dt
import json
from pathlib import Path
from typing import NamedTuple

from runner.contract.files import atomic_write
from runner.contract.log_layout import LogLayout
from runner.contract.text import encodable
from runner.coordination.state import Vote
from runner.coordination.workspaces import Staged, listing

ANSWER_FILE = "answer.txt"
VOTE_FILE = "vote.json"
CONTEXT_FILE = "context.txt"
WORKSPACE_DIR = "workspace"
SKIPPED_FILE = "workspace_skipped.txt"


class Decided(NamedTuple):
    """What goes with an answer or a vote, besides itself."""

    context: str
    """What its author could see."""
    now: float
    workspace: Staged | None = None
    """The author's workspace; None: it has none."""


class Snapshot(NamedTuple):
    """An entry of snapshot_mappings.json; `path` is relative to the log directory."""

    path: str
    agent_id: str
    timestamp: float


def save_answer(layout: LogLayout, agent_id: str, content: str, decided: Decided) -> Snapshot:
    """Write an answer with what goes with it, and return where it is. Raises OSError."""
    directory = _new_directory(layout, agent_id, decided.now)
    _fill(directory, decided, ANSWER_FILE, encodable(content))
    return _entry(layout, directory / ANSWER_FILE, agent_id, decided.now)


def save_vote(layout: LogLayout, vote: Vote, decided: Decided) -> Snapshot:
    """Write a vote with what goes with it, and return where it is. Raises OSError."""
    directory = _new_directory(layout, vote.voter, decided.now)
    fields = {
        "voter": vote.voter,
        "voted_for": vote.target,
        "voted_for_label": vote.label,
        "reason": encodable(vote.reason),
        "timestamp": decided.now,
    }
    _fill(directory, decided, VOTE_FILE, json.dumps(fields, indent=2))
    return _entry(layout, directory / VOTE_FILE, vote.voter, decided.now)


def save_final(layout: LogLayout, agent_id: str, content: str, decided: Decided) -> Snapshot:
    """Write the final answer, on the disk for good when this returns. Raises OSError."""
    directory = layout.final(agent_id)
    directory.mkdir(parents=True, exist_ok=True)
    _fill(directory, decided, ANSWER_FILE, encodable(content), durable=True)
    return _entry(layout, directory / ANSWER_FILE, agent_id, decided.now)


def _fill(
    directory: Path, decided: Decided, name: str, text: str, *, durable: bool = False
) -> None:
    """Write what is there besides the named file first: who finds that one finds all."""
    _place_workspace(directory, decided.workspace)
    atomic_write(directory / CONTEXT_FILE, decided.context)
    atomic_write(directory / name, text, durable=durable)


def _place_workspace(directory: Path, staged: Staged | None) -> None:
    target = directory / WORKSPACE_DIR
    if staged is None:
        target.mkdir(exist_ok=True)
        return
    staged.directory.rename(target)
    if skipped := listing(staged):
        atomic_write(directory / SKIPPED_FILE, skipped)


def _entry(layout: LogLayout, path: Path, agent_id: str, now: float) -> Snapshot:
    return Snapshot(str(path.relative_to(layout.root)), agent_id, now)


def _new_directory(layout: LogLayout, agent_id: str, now: float) -> Path:
    """Make the agent's directory for this instant; on a clash, for the next microsecond."""
    instant = dt.datetime.fromtimestamp(now, dt.UTC)
    while True:
        directory = layout.snapshot(agent_id, f"{instant:%Y%m%d_%H%M%S_%f}")
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            instant += dt.timedelta(microseconds=1)
        else:
            return directory
