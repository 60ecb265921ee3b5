"""What containers wrote is handed back whole, and nothing in it runs as somebody else."""

import os
from pathlib import Path

from runner.host.ownership import give, strip_special_bits
from tests.contract.trees import make_deep, remove_deep

ME = (os.getuid(), os.getgid())


def test_any_depth(tmp_path: Path) -> None:
    """A tree that is deeper than a path can be long, or a stack high, is walked to its end."""
    (tmp_path / "tree").mkdir()
    make_deep(tmp_path / "tree", 5000)
    try:
        give(tmp_path / "tree", *ME)
    finally:
        remove_deep(tmp_path / "tree")


def test_special_bits_go(tmp_path: Path) -> None:
    """No file keeps a set-user-id or set-group-id bit; other bits and directories stay."""
    for name, mode in (("suid", 0o4755), ("sgid", 0o2711), ("plain", 0o640)):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(mode)
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "inner").write_text("x")
    (tmp_path / "dir" / "inner").chmod(0o6777)
    strip_special_bits(tmp_path)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in tmp_path.rglob("*")}
    assert modes["suid"] == 0o755
    assert modes["sgid"] == 0o711
    assert modes["plain"] == 0o640
    assert modes["inner"] == 0o777


def test_links_are_not_followed(tmp_path: Path) -> None:
    """What a link leads to is not touched."""
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o4755)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(outside)
    (tmp_path / "tree" / "up").symlink_to("..")
    give(tmp_path / "tree", *ME)
    assert outside.stat().st_mode & 0o7777 == 0o4755
