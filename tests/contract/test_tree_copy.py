"""The copy of a directory that somebody hostile fills. Runs on: host."""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.contract.file_copy import held_bytes
from runner.contract.tree_copy import (
    CopyLimits,
    CopyReport,
    CopyStoppedError,
    copy_tree,
    stays_inside,
)
from tests.contract.trees import TREES, Tree, entries, make, make_deep, remove_deep


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    made.mkdir()
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def reasons(report: CopyReport) -> dict[str, str]:
    return {skipped.path: skipped.reason for skipped in report.skipped}


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_a_copy_is_the_tree(tree: Tree) -> None:
    """Files and directories of any name come over with content, mode and time."""
    with TemporaryDirectory() as directory:
        source, target = Path(directory, "source"), Path(directory, "target")
        source.mkdir()
        make(tree, os.fsencode(source))
        report = copy_tree(source, target)
        assert entries(target) == entries(source)
        assert report.skipped_count == 0
        assert report.bytes == sum(len(e.content) for e in entries(source).values())


@given(
    st.lists(st.sampled_from(["..", ".", "", "a", "b", "up", "c/.."]), max_size=6),
    st.integers(0, 3),
)
def test_no_link_that_is_kept_leads_outside(parts: list[str], depth: int) -> None:
    """Whatever the names on the way point at inside the tree, a link that is kept stays inside."""
    pointed = "/".join(parts)
    if not stays_inside(pointed, depth):
        return
    at = depth
    for part in pointed.split("/"):
        # A name may be a link to the tree's root, the worst place inside from which to go up.
        at = at - 1 if part == ".." else 0 if part not in {"", "."} else at
        assert at >= 0


@pytest.mark.parametrize(
    ("pointed", "depth", "kept"),
    [
        ("file", 0, True),
        ("./a/b", 0, True),
        ("../file", 1, True),
        ("../file", 0, False),
        ("../../x/y", 2, True),
        ("a/../b", 1, False),
        ("/etc/passwd", 1, False),
        ("..", 1, True),
        ("..", 0, False),
    ],
)
def test_links(pointed: str, depth: int, kept: bool) -> None:
    """A link is kept where it is relative and goes up at its beginning only, not too far."""
    assert stays_inside(pointed, depth) is kept


def test_links_are_copied_as_links_or_left_out(source: Path, target: Path) -> None:
    """A link inside the tree stays a link; one that leads out is listed and not followed."""
    (source / "bin").mkdir()
    (source / "bin/tool").symlink_to("../lib/tool")
    (source / "broken").symlink_to("nothing")
    (source / "up").symlink_to(".")
    (source / "through").symlink_to("up/../secret")
    (source / "passwd").symlink_to("/etc/passwd")
    (source / "root").symlink_to("/")
    (source / "out").symlink_to("../outside")
    report = copy_tree(source, target)
    assert (target / "bin/tool").readlink() == Path("../lib/tool")
    assert (target / "broken").readlink() == Path("nothing")
    assert sorted(reasons(report)) == ["out", "passwd", "root", "through"]
    assert not (target / "passwd").is_symlink()


def test_what_is_no_file_is_listed(source: Path, target: Path) -> None:
    """A FIFO that nobody writes and a socket are left out, and nobody waits for them."""
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(source / "socket"))
        report = copy_tree(source, target)
    assert set(reasons(report)) == {"fifo", "socket"}
    assert list(target.iterdir()) == []


def test_hard_links_become_files_of_their_own(source: Path, target: Path) -> None:
    """Two names of one file are two files in the copy, and both count."""
    (source / "one").write_text("text")
    (source / "two").hardlink_to(source / "one")
    report = copy_tree(source, target)
    assert report.bytes == 8
    assert (target / "one").stat().st_nlink == 1
    (source / "one").write_text("else")
    assert (target / "two").read_text() == "text"


def test_special_bits_are_left_behind(source: Path, target: Path) -> None:
    """Neither setuid nor setgid nor sticky bits come over; a closed directory can be removed."""
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "tool").chmod(0o6755)
    (source / "closed").mkdir()
    (source / "closed").chmod(0o1555)
    copy_tree(source, target)
    assert stat.S_IMODE((target / "tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "closed").stat().st_mode) == 0o755


def test_holes_stay_holes(source: Path, target: Path) -> None:
    """A file that claims 1 TB and holds little costs little, and the copy claims the same."""
    with (source / "sparse").open("wb") as file:
        file.write(b"begin")
        file.seek(1 << 39)
        file.write(b"middle")
        file.truncate(1 << 40)
    report = copy_tree(source, target)
    copied = (target / "sparse").stat()
    assert report.skipped == ()
    assert copied.st_size == 1 << 40
    assert held_bytes(copied) < 1 << 20
    with (target / "sparse").open("rb") as file:
        assert file.read(6) == b"begin\0"
        file.seek(1 << 39)
        assert file.read(6) == b"middle"


def test_a_large_file_comes_over(source: Path, target: Path) -> None:
    """A file of more than one piece is copied whole."""
    content = os.urandom(1 << 20) * 20
    (source / "large").write_bytes(content)
    report = copy_tree(source, target)
    assert (target / "large").read_bytes() == content
    assert report.bytes == len(content)


def test_what_is_too_much_is_listed(source: Path, target: Path) -> None:
    """A file beyond the limit is left out; smaller ones still come over."""
    (source / "large").write_bytes(bytes(2_000_000))
    (source / "small").write_bytes(b"x")
    report = copy_tree(source, target, CopyLimits(max_bytes=1_000_000))
    assert reasons(report) == {"large": "over 1000000 bytes in all"}
    assert [path.name for path in target.iterdir()] == ["small"]


def test_too_many_entries_end_the_copy(source: Path, target: Path) -> None:
    """After the limit of entries nothing more is read."""
    for number in range(50):
        (source / str(number)).touch()
    report = copy_tree(source, target, CopyLimits(max_entries=20))
    assert len(list(target.iterdir())) == report.files == 20
    assert reasons(report) == {".": "more than 20 entries in all"}


def test_a_deep_tree_is_cut(source: Path, target: Path) -> None:
    """Ten thousand directories inside each other are copied down to the limit."""
    make_deep(source, 10_000)
    try:
        report = copy_tree(source, target)
        assert report.skipped_count == 1
        assert report.skipped[0].reason == "deeper than 100 directories"
    finally:
        remove_deep(source)


def test_long_paths_are_cut(source: Path, target: Path) -> None:
    """Where the names on the way are too long for any program, the copy ends."""
    current = os.open(source, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("n" * 250, dir_fd=current)
        inner = os.open("n" * 250, os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = inner
    os.close(current)
    report = copy_tree(source, target)
    assert [s.reason for s in report.skipped] == ["its path is longer than 3000 bytes"]


def test_a_report_lists_no_more_than_it_must(source: Path, target: Path) -> None:
    """Of many skipped entries all are counted and some are named, in printable lines."""
    for number in range(1500):
        (source / f"\x1b[31m\nx{number}").symlink_to("/")
    report = copy_tree(source, target)
    assert report.skipped_count == 1500
    assert len(report.skipped) == 1000
    assert all(skipped.path.isprintable() for skipped in report.skipped)


def test_nobody_waits_for_a_copy_that_is_not_wanted(source: Path, target: Path) -> None:
    """A copy ends early once it is told to."""
    (source / "file").touch()
    stop = threading.Event()
    stop.set()
    with pytest.raises(CopyStoppedError):
        copy_tree(source, target, stop=stop)


@contextmanager
def swapping(path: Path, others: list[Path]) -> Iterator[None]:
    """Put one after the other of `others` at `path`, as fast as it goes."""
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for other in others:
                os.rename(path, f"{path}.aside")
                os.rename(other, path)
                os.rename(path, other)
                os.rename(f"{path}.aside", path)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_entries_that_are_swapped_lead_nowhere(tmp_path: Path, source: Path) -> None:
    """While files and directories are exchanged for links, only what is inside is copied."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name in ("directory", "file"):
        (shelf / f"{name}-link").symlink_to(outside if name == "directory" else outside / "file")
    os.mkfifo(shelf / "fifo")
    (source / "directory/inner").mkdir(parents=True)
    (source / "directory/file").write_text("mine")
    (source / "file").write_text("mine")
    with (
        swapping(source / "directory", [shelf / "directory-link"]),
        swapping(source / "file", [shelf / "file-link", shelf / "fifo"]),
    ):
        for number in range(300):
            target = tmp_path / f"target{number}"
            copy_tree(source, target)
            contents = {e.content for e in entries(target).values() if stat.S_ISREG(e.kind)}
            assert contents <= {b"mine"}
            assert not any(path.is_symlink() for path in target.rglob("*"))
