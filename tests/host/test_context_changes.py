"""What a winner changed in its copy of the user's files is applied, and nothing else happens."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.host.context_changes import Applied, apply_changes, changes
from runner.host.context_tree import Tree, read_tree


class Shared:
    """A user's directory, its copy, and what was in it when the copy was made."""

    def __init__(self, root: Path, **files: str) -> None:
        self.root, self.copy = root / "user", root / "copy"
        self.root.mkdir()
        for name, text in files.items():
            path = self.root / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        shutil.copytree(self.root, self.copy, symlinks=True)
        self.before: Tree = read_tree(self.copy)

    def apply(self, *protected: str, dry_run: bool = False) -> dict[str, Applied]:
        found = changes(self.before, read_tree(self.copy))
        done = apply_changes(
            found, copy=self.copy, root=self.root, protected=protected, dry_run=dry_run
        )
        return {applied.path: applied for applied in done}


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared(tmp_path, a="one", d__b="two", d__e__c="three")


def test_files_are_changed_added_and_deleted(shared: Shared) -> None:
    """The user's directory becomes what the copy is."""
    (shared.copy / "a").write_text("new")
    (shared.copy / "n" / "m").mkdir(parents=True)
    (shared.copy / "n" / "m" / "x").write_text("added")
    shutil.rmtree(shared.copy / "d" / "e")
    done = shared.apply()
    assert all(applied.is_applied for applied in done.values())
    assert {path: applied.kind for path, applied in done.items()} == {
        "a": "changed",
        "n": "added",
        "n/m": "added",
        "n/m/x": "added",
        "d/e": "deleted",
        "d/e/c": "deleted",
    }
    assert read_tree(shared.root) == read_tree(shared.copy)


def test_a_dry_run_changes_nothing(shared: Shared) -> None:
    """It tells what would be done."""
    (shared.copy / "a").write_text("new")
    done = shared.apply(dry_run=True)
    assert done["a"].is_applied
    assert read_tree(shared.root) == shared.before


def test_a_file_that_the_user_changed_meanwhile(shared: Shared) -> None:
    """It is left as it is and reported; the others are applied."""
    (shared.copy / "a").write_text("the agent's")
    (shared.copy / "d" / "b").write_text("the agent's")
    (shared.root / "a").write_text("the user's")
    done = shared.apply()
    assert "changed by somebody else" in done["a"].note
    assert not done["a"].is_applied
    assert (shared.root / "a").read_text() == "the user's"
    assert (shared.root / "d" / "b").read_text() == "the agent's"


def test_a_file_that_the_user_added_or_deleted_meanwhile(shared: Shared) -> None:
    """Neither is overwritten nor brought back."""
    (shared.copy / "n").write_text("the agent's")
    (shared.root / "n").write_text("the user's")
    (shared.copy / "a").write_text("the agent's")
    (shared.root / "a").unlink()
    done = shared.apply()
    assert not done["n"].is_applied
    assert not done["a"].is_applied
    assert (shared.root / "n").read_text() == "the user's"
    assert not (shared.root / "a").exists()


def test_nothing_is_written_through_a_link(shared: Shared, tmp_path: Path) -> None:
    """A directory of the user's that has become a link is not entered."""
    outside = tmp_path / "outside"
    shutil.move(shared.root / "d", outside)
    (shared.root / "d").symlink_to(outside)
    (shared.copy / "d" / "b").write_text("the agent's")
    done = shared.apply()
    assert not done["d/b"].is_applied
    assert (outside / "b").read_text() == "two"


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "d/../../x"])
def test_links_that_lead_outside_are_refused(shared: Shared, target: str) -> None:
    """A link is applied only where it leads to something in the same tree."""
    (shared.copy / "bad").symlink_to(target)
    (shared.copy / "good").symlink_to("d/../a")
    done = shared.apply()
    assert "leads outside" in done["bad"].note
    assert not os.path.lexists(shared.root / "bad")
    assert (shared.root / "good").read_text() == "one"


def test_kinds_can_change(shared: Shared) -> None:
    """A file may become a directory, and a directory a file."""
    (shared.copy / "a").unlink()
    (shared.copy / "a").mkdir()
    (shared.copy / "a" / "inner").write_text("x")
    shutil.rmtree(shared.copy / "d")
    (shared.copy / "d").write_text("now a file")
    done = shared.apply()
    assert all(applied.is_applied for applied in done.values())
    assert read_tree(shared.root) == read_tree(shared.copy)


def test_protected_paths(shared: Shared) -> None:
    """What is protected stays as it is."""
    (shared.copy / "d" / "b").write_text("the agent's")
    done = shared.apply("d")
    assert done["d/b"].note == "is protected"
    assert (shared.root / "d" / "b").read_text() == "two"


@pytest.mark.parametrize("name", [".git/hooks/pre-commit", ".envrc", "lib/evil.pth", "conftest.py"])
def test_what_other_programs_run_is_pointed_out(shared: Shared, name: str) -> None:
    """It is applied, with a note that somebody should look."""
    path = shared.copy / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("echo")
    assert "look at it first" in shared.apply()[name].note


def test_special_bits_and_special_files_stay_behind(shared: Shared) -> None:
    """No setuid bit, FIFO or socket reaches the user's directory; modes do."""
    tool = shared.copy / "tool"
    tool.write_text("#!/bin/sh")
    tool.chmod(0o4755)
    os.mkfifo(shared.copy / "fifo")
    done = shared.apply()
    assert "executed" in done["tool"].note
    assert (shared.root / "tool").stat().st_mode & 0o7777 == 0o755
    assert not (shared.root / "fifo").exists()


NAMES = st.sampled_from(["a", "b", "c/a", "c/b", "c/d/a", "é\n", "x" * 200])
TREES = st.dictionaries(NAMES, st.sampled_from(["", "1", "2"]), max_size=6)


@given(TREES, TREES)
def test_any_tree_becomes_any_other(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, str], second: dict[str, str]
) -> None:
    """Whatever was there and whatever the agent left: the user's directory becomes the same."""
    base = tmp_path_factory.mktemp("trees")
    root, copy = base / "user", base / "copy"
    for place, files in ((root, first), (copy, second)):
        place.mkdir()
        for name, text in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
    found = changes(read_tree(root), read_tree(copy))
    done = list(apply_changes(found, copy=copy, root=root, protected=(), dry_run=False))
    assert all(applied.is_applied for applied in done)
    assert read_tree(root) == read_tree(copy)
