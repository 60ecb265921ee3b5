"""Atomic writes, and reads that treat the writer as hostile."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.contract.files import (
    TEMPORARY_PREFIX,
    HostileFileError,
    atomic_write,
    open_directory,
    read_bytes,
    read_text,
)


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    """Content comes back as it was written, also below directories."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_bytes(b"x\0y\xff")

    assert read_bytes(tmp_path, "a/b.txt", 4) == b"x\0y\xff"
    assert read_text(tmp_path, "a/b.txt", 4) == "x\0y\ufffd"


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.mkdir()


def _device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))


@pytest.mark.parametrize("make", [_link, _fifo, _directory])
def test_what_is_no_regular_file_is_refused_without_blocking(tmp_path: Path, make: object) -> None:
    """Links, FIFOs and directories are errors at once; nothing behind them is read."""
    assert callable(make)
    make(tmp_path / "x")

    with pytest.raises(HostileFileError):
        read_bytes(tmp_path, "x", 1000)


def test_a_device_is_refused(tmp_path: Path) -> None:
    """An endless device is not read from."""
    try:
        _device(tmp_path / "zero")
    except PermissionError:
        return  # only root can make one, and so only root's containers
    with pytest.raises((HostileFileError, PermissionError)):
        read_bytes(tmp_path, "zero", 1000)


def test_no_component_may_be_a_link(tmp_path: Path) -> None:
    """A link to a directory on the way is refused too."""
    (tmp_path / "etc").symlink_to("/etc")

    with pytest.raises(OSError, match="etc"):
        read_bytes(tmp_path, "etc/passwd", 100_000)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd"])
def test_a_path_cannot_leave_the_directory(tmp_path: Path, path: str) -> None:
    """`..` and absolute paths are refused."""
    (tmp_path / "a").mkdir()

    with pytest.raises(HostileFileError):
        read_bytes(tmp_path, path, 1000)


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    """No more than the cap and one byte is read, even of a sparse terabyte."""
    with (tmp_path / "big").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(HostileFileError, match="larger than 10 bytes"):
        read_bytes(tmp_path, "big", 10)


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    """FileNotFoundError stays itself: readers wait for files that are still to come."""
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path, "none", 10)


def test_a_write_replaces_a_link_instead_of_following_it(tmp_path: Path) -> None:
    """What a link points to stays as it is."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "status.json").symlink_to(victim)

    atomic_write(tmp_path / "status.json", "new", durable=True)

    assert victim.read_text() == "mine"
    assert (tmp_path / "status.json").read_text() == "new"


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """A target that cannot be replaced keeps its content, and no temporary file stays."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "inner").write_text("")

    with pytest.raises(OSError, match="directory"):
        atomic_write(tmp_path / "x", "new")

    assert os.listdir(tmp_path) == ["x"]


def test_descriptors_are_closed_again(tmp_path: Path) -> None:
    """Reading and failing to read leaves no open descriptor."""
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "link").symlink_to("/")
    for path in ("link/x", "none/x", "x"):
        with pytest.raises(OSError):  # noqa: PT011 - any of them
            read_bytes(tmp_path, path, 1)
    with open_directory(tmp_path):
        pass

    assert before == len(os.listdir("/proc/self/fd"))


def test_a_killed_writer_never_leaves_half_a_file(tmp_path: Path) -> None:
    """kill -9 at any instant leaves the old content or the new one, whole."""
    target = tmp_path / "status.json"
    script = (
        "import sys, itertools; from pathlib import Path\n"
        "from runner.contract.files import atomic_write\n"
        "path = Path(sys.argv[1])\n"
        "for n in itertools.count():\n"
        "    atomic_write(path, str(n % 10) * 300_000, durable=n % 2 == 0)\n"
    )
    for round_ in range(5):
        process = subprocess.Popen([sys.executable, "-c", script, str(target)])
        deadline = time.monotonic() + 30
        while not target.exists() and time.monotonic() < deadline:
            os.sched_yield()
        for _ in range(50 * (round_ + 1)):
            content = target.read_bytes()
            assert len(content) == 300_000
            assert len(set(content)) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        content = target.read_bytes()
        assert len(content) == 300_000
        assert len(set(content)) == 1
    strays = [name for name in os.listdir(tmp_path) if name != "status.json"]
    assert all(name.startswith(TEMPORARY_PREFIX) for name in strays)
