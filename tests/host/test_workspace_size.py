"""What a directory that somebody hostile fills is found to hold."""

import os
import threading
from pathlib import Path

from runner.host.workspace_size import MAX_DEPTH, held

MANY = 100_000
MIB = 1024**2


def test_files_count_by_what_they_take(tmp_path: Path) -> None:
    """A file of a terabyte of nothing costs next to nothing; one that is written costs its size."""
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1024**4)
    assert held(tmp_path, MANY).bytes < MIB
    (tmp_path / "dense").write_bytes(os.urandom(2 * MIB))
    found = held(tmp_path, MANY)
    assert 2 * MIB <= found.bytes < 3 * MIB
    assert found.entries == 2


def test_names_of_one_file_count_once(tmp_path: Path) -> None:
    """A hundred hard links to a file are one file."""
    (tmp_path / "file").write_bytes(os.urandom(MIB))
    for number in range(100):
        os.link(tmp_path / "file", tmp_path / f"link{number}")
    found = held(tmp_path, MANY)
    assert MIB <= found.bytes < 2 * MIB
    assert found.entries == 101


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link to a directory elsewhere, or to its own parent, adds nothing; nor does a FIFO."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "large").write_bytes(os.urandom(4 * MIB))
    (root / "away").symlink_to(outside)
    (root / "loop").symlink_to(".")
    os.mkfifo(root / "fifo")
    found = held(root, MANY)
    assert found.bytes < MIB
    assert found.entries == 3
    (tmp_path / "link").symlink_to(outside)
    assert held(tmp_path / "link", MANY).bytes == 0


def test_many_entries_end_the_walk(tmp_path: Path) -> None:
    """Of more entries than were asked for, only so many are looked at, and the result says so."""
    for directory in range(10):
        (tmp_path / str(directory)).mkdir()
        for number in range(10):
            (tmp_path / str(directory) / str(number)).touch()
    cut, whole = held(tmp_path, 50), held(tmp_path, 110)
    assert (cut.entries, cut.is_cut) == (50, True)
    assert (whole.entries, whole.is_cut) == (110, False)


def test_a_deep_tree_is_walked_to_a_bound(tmp_path: Path) -> None:
    """Hundreds of directories inside each other cost neither stack nor open files."""
    current = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=current)
        inner = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = inner
    os.close(current)
    before = len(os.listdir("/proc/self/fd"))
    found = held(tmp_path, MANY)
    assert found.is_deep
    assert found.entries == MAX_DEPTH + 1
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_walk_that_nobody_wants_ends(tmp_path: Path) -> None:
    """Once it is told to stop, a walk looks at nothing more."""
    (tmp_path / "file").touch()
    stop = threading.Event()
    stop.set()
    assert held(tmp_path, MANY, stop).entries == 0


def test_a_missing_directory_holds_nothing(tmp_path: Path) -> None:
    """A workspace that somebody removed is no error."""
    assert held(tmp_path / "gone", MANY).bytes == 0
