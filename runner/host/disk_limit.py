"""How much room an agent's workspace may take, as pure rules. Runs on: host."""

import os
from pathlib import Path
from typing import NamedTuple, Self

from runner.host.workspace_size import MAX_DEPTH, Held

MAX_ENTRIES = 500_000
"""Files and directories in a workspace."""
MAX_DISK_DEATHS = 2
"""How often a container is ended for its workspace until it is not made anew."""
_RESERVE_BYTES = 1024**3
_STEP_BYTES = 16 * 1024**2
_STEP_INODES = 1000
_BLAME_BYTES = 1024**2
"""Who has written less than this on a disk that is nearly full has not filled it."""
_OWN_FILE_BYTES = 1024**2
_ENDED = "The agent's container was ended"


class DiskLimit(NamedTuple):
    """The most that a workspace may hold."""

    bytes: int
    words: str
    """As the user wrote it."""
    entries: int = MAX_ENTRIES

    @property
    def file_bytes(self) -> int:
        """Return how large one file may become: it alone does not reach the limit."""
        return self.bytes - _OWN_FILE_BYTES


class Room(NamedTuple):
    """What a file system has."""

    whole_bytes: int
    free_bytes: int
    """For users without privileges."""
    used_bytes: int
    used_inodes: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the room of the file system that `path` is on. Raises OSError."""
        state = os.statvfs(path)
        return cls(
            whole_bytes=state.f_blocks * state.f_frsize,
            free_bytes=state.f_bavail * state.f_frsize,
            used_bytes=(state.f_blocks - state.f_bfree) * state.f_frsize,
            used_inodes=state.f_files - state.f_ffree,
        )

    @property
    def is_nearly_full(self) -> bool:
        """Tell whether less is left than the host should keep."""
        return self.free_bytes < min(_RESERVE_BYTES, self.whole_bytes // 20)

    def has_grown_since(self, before: "Room", limit_bytes: int) -> bool:
        """Tell whether so much was written that a workspace may have come over its limit."""
        step = min(_STEP_BYTES, limit_bytes // 8)
        return (
            self.used_bytes - before.used_bytes >= step
            or self.used_inodes - before.used_inodes >= _STEP_INODES
        )

    def least(self, other: "Room") -> "Room":
        """Return this room with what was used least: what others delete hides no growth."""
        return self._replace(
            used_bytes=min(self.used_bytes, other.used_bytes),
            used_inodes=min(self.used_inodes, other.used_inodes),
        )


class Allowance(NamedTuple):
    """What a workspace may hold now: more than the limit only after a death, to tidy up."""

    bytes: int
    entries: int
    is_depth_known: bool = False
    """The agent has been told that it nests directories too deep."""

    @classmethod
    def of(cls, limit: DiskLimit) -> Self:
        """Return what a workspace may hold at first."""
        return cls(limit.bytes, limit.entries)


def over(limit: DiskLimit, allowance: Allowance, found: Held) -> str | None:
    """Return why a container is ended for what its workspace holds, None where it is not."""
    what = None
    if found.bytes > allowance.bytes:
        what = f"holds more than runner.disk allows ({limit.words})"
    elif found.entries > allowance.entries:
        what = f"holds more than {limit.entries} files and directories"
    elif found.is_deep and not allowance.is_depth_known:
        what = f"has more than {MAX_DEPTH} directories inside each other"
    return what and f"{_ENDED}: its workspace {what}: delete what is not needed"


def allowance_after_death(limit: DiskLimit, found: Held) -> Allowance:
    """Return what a workspace may hold once its container was ended: a tenth more than it does."""
    return Allowance(
        max(limit.bytes, found.bytes + found.bytes // 10),
        max(limit.entries, found.entries + found.entries // 10),
        is_depth_known=found.is_deep,
    )


def allowance_after_look(limit: DiskLimit, allowance: Allowance, found: Held) -> Allowance:
    """Return the ordinary allowance again for a workspace that was tidied up."""
    ordinary = Allowance.of(limit)
    is_tidy = found.bytes <= limit.bytes and found.entries <= limit.entries and not found.is_deep
    return ordinary if is_tidy else allowance


FULL_HOST = (
    f"{_ENDED}: the disk of the host is nearly full, and its workspace grew most: delete what is "
    "not needed"
)


def to_blame(growth: dict[str, int]) -> str | None:
    """Return the agent whose workspace grew most on a disk that is nearly full, if one did."""
    most = max(growth, key=lambda name: growth[name], default=None)
    return most if most is not None and growth[most] >= _BLAME_BYTES else None
