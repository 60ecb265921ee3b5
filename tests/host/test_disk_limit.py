"""The rules by which a workspace is too large."""

from runner.host.disk_limit import (
    Allowance,
    DiskLimit,
    Room,
    allowance_after_death,
    allowance_after_look,
    over,
    to_blame,
)
from runner.host.workspace_size import Held

MIB = 1024**2
GIB = 1024**3
LIMIT = DiskLimit(64 * MIB, "64m", entries=1000)
FIRST = Allowance.of(LIMIT)


def room(free: int = 50 * GIB, used: int = 50 * GIB, inodes: int = 0) -> Room:
    return Room(100 * GIB, free, used, inodes)


def test_a_workspace_within_its_limits_is_left_alone() -> None:
    """What the limit allows is allowed to the last byte and entry."""
    assert over(LIMIT, FIRST, Held(64 * MIB, 1000)) is None


def test_each_limit_is_named() -> None:
    """The agent is told what there is too much of, and what the limit is."""
    reasons = [
        over(LIMIT, FIRST, Held(64 * MIB + 1, 1)),
        over(LIMIT, FIRST, Held(0, 1001)),
        over(LIMIT, FIRST, Held(0, 200, is_deep=True)),
    ]
    assert reasons == [
        f"The agent's container was ended: its workspace {what}: delete what is not needed"
        for what in (
            "holds more than runner.disk allows (64m)",
            "holds more than 1000 files and directories",
            "has more than 128 directories inside each other",
        )
    ]


def test_after_a_death_there_is_room_to_tidy_up() -> None:
    """A tenth more than there is then, until the workspace is within its limits again."""
    found = Held(100 * MIB, 2000, is_deep=True)
    allowance = allowance_after_death(LIMIT, found)
    assert over(LIMIT, allowance, found) is None
    assert over(LIMIT, allowance, Held(109 * MIB, 2199)) is None
    assert over(LIMIT, allowance, Held(111 * MIB, 1)) is not None
    assert over(LIMIT, allowance, Held(1, 2201)) is not None
    still = allowance_after_look(LIMIT, allowance, Held(65 * MIB, 1))
    assert over(LIMIT, still, Held(66 * MIB, 1)) is None
    again = allowance_after_look(LIMIT, allowance, Held(10 * MIB, 1))
    assert over(LIMIT, again, Held(66 * MIB, 1)) is not None


def test_one_file_does_not_reach_the_limit() -> None:
    """A file that the kernel cuts off leaves the workspace within its limit."""
    assert over(LIMIT, FIRST, Held(LIMIT.file_bytes + 64 * 1024, 1)) is None


def test_growth_is_noticed_by_bytes_and_by_inodes() -> None:
    """16 MiB, or an eighth of a small limit, or a thousand files."""
    before = room()
    assert not room(used=50 * GIB + 15 * MIB).has_grown_since(before, 10 * GIB)
    assert room(used=50 * GIB + 16 * MIB).has_grown_since(before, 10 * GIB)
    assert room(used=50 * GIB + 8 * MIB).has_grown_since(before, 64 * MIB)
    assert room(inodes=1000).has_grown_since(before, 10 * GIB)


def test_what_others_delete_hides_no_growth() -> None:
    """Growth is measured from the least that was used since."""
    least = room(used=40 * GIB).least(room())
    assert room(used=41 * GIB).has_grown_since(least, 10 * GIB)


def test_a_disk_is_nearly_full() -> None:
    """Less than 1 GiB is left, or less than a twentieth of a small disk."""
    assert room(free=GIB - 1).is_nearly_full
    assert not room(free=GIB).is_nearly_full
    assert not Room(10 * GIB, GIB // 2, 0, 0).is_nearly_full
    assert Room(10 * GIB, GIB // 2 - 1, 0, 0).is_nearly_full


def test_who_grew_most_is_to_blame() -> None:
    """Nobody is, where nobody wrote: the disk was filled by others."""
    assert to_blame({"a": 5 * MIB, "b": 9 * MIB}) == "b"
    assert to_blame({"a": 0, "b": MIB - 1}) is None
    assert to_blame({}) is None
