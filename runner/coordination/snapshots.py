"""Directories of answers and votes, and of the final answer. Runs on: the run container."""

import datetime as dt
import json
from pathlib import Path
from typing import NamedTuple

from runner.contract.files import atomic_write
from runner.contract.log_layout import LogLayout
from runner.contract.text import encodable
from runner.coordination.state import Vote

ANSWER_FILE = "answer.txt"
VOTE_FILE = "vote.json"
CONTEXT_FILE = "context.txt"
WORKSPACE_DIR = "workspace"


class Snapshot(NamedTuple):
    """An entry of snapshot_mappings.json; `path` is relative to the log directory."""

    path: str
    agent_id: str
    timestamp: float


def save_answer(
    layout: LogLayout, agent_id: str, content: str, context: str, now: float
) -> Snapshot:
    """Write an answer with what its author could see, and return where it is. Raises OSError."""
    directory = _new_directory(layout, agent_id, now)
    _fill(directory, context, ANSWER_FILE, encodable(content))
    return _entry(layout, directory / ANSWER_FILE, agent_id, now)


def save_vote(layout: LogLayout, vote: Vote, context: str, now: float) -> Snapshot:
    """Write a vote with what the voter could see, and return where it is. Raises OSError."""
    directory = _new_directory(layout, vote.voter, now)
    fields = {
        "voter": vote.voter,
        "voted_for": vote.target,
        "voted_for_label": vote.label,
        "reason": encodable(vote.reason),
        "timestamp": now,
    }
    _fill(directory, context, VOTE_FILE, json.dumps(fields, indent=2))
    return _entry(layout, directory / VOTE_FILE, vote.voter, now)


def save_final(
    layout: LogLayout, agent_id: str, content: str, context: str, now: float
) -> Snapshot:
    """Write the final answer, on the disk for good when this returns. Raises OSError."""
    directory = layout.final(agent_id)
    directory.mkdir(parents=True, exist_ok=True)
    _fill(directory, context, ANSWER_FILE, encodable(content), durable=True)
    return _entry(layout, directory / ANSWER_FILE, agent_id, now)


def _fill(directory: Path, context: str, name: str, text: str, *, durable: bool = False) -> None:
    """Write what is there besides the named file first: who finds that one finds all."""
    (directory / WORKSPACE_DIR).mkdir(exist_ok=True)
    atomic_write(directory / CONTEXT_FILE, context)
    atomic_write(directory / name, text, durable=durable)


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
