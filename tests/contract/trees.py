"""Directories as agents may leave them, made and read in tests. Runs on: both sides."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

NAMES = st.binary(min_size=1, max_size=20).filter(
    lambda name: name not in {b".", b".."} and b"/" not in name and b"\0" not in name
)
FILES = st.tuples(st.binary(max_size=3000), st.sampled_from([0o644, 0o755, 0o600, 0o444]))
Tree = dict[bytes, "Tree | tuple[bytes, int]"]
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(NAMES, FILES, max_size=4),
    lambda inner: st.dictionaries(NAMES, inner | FILES, max_size=4),
    max_leaves=12,
)


class Entry(NamedTuple):
    """What a tree has at one path; for a directory or link no content or no mode counts."""

    kind: int
    mode: int
    mtime_ns: int
    content: bytes


def make(tree: Tree, at: bytes) -> None:
    """Write a tree into the directory `at`."""
    for name, value in tree.items():
        path = os.path.join(at, name)
        if isinstance(value, dict):
            os.mkdir(path)
            make(value, path)
        else:
            content, mode = value
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, mode)
            os.utime(path, ns=(1, 1_600_000_000_123_456_789))


def entries(root: Path) -> dict[bytes, Entry]:
    """Return every path below `root` with what is there."""
    found: dict[bytes, Entry] = {}
    top = os.fsencode(root)
    for directory, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = os.path.join(directory, name)
            found[os.path.relpath(path, top)] = _entry(path)
    return found


def _entry(path: bytes) -> Entry:
    state = os.lstat(path)
    kind = stat.S_IFMT(state.st_mode)
    content = b""
    if stat.S_ISLNK(kind):
        content = os.readlink(path)
    elif stat.S_ISREG(kind):
        content = Path(os.fsdecode(path)).read_bytes()
    return Entry(kind, stat.S_IMODE(state.st_mode), state.st_mtime_ns, content)


def make_deep(root: Path, depth: int) -> None:
    """Make `depth` directories inside each other, far beyond what a path can name."""
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(depth):
            os.mkdir("d", dir_fd=current)
            inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=current)
            os.close(current)
            current = inner
    finally:
        os.close(current)


def remove_deep(root: Path) -> None:
    """Remove what `make_deep` made, from the top: shutil's recursion cannot."""
    while (root / "d").exists():
        (root / "d").rename(root / "top")
        if (root / "top/d").exists():
            (root / "top/d").rename(root / "d")
        (root / "top").rmdir()
