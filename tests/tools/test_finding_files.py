"""Listing and searching through a real tool server, in directories that are hostile."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.tools.files.globs import Globs
from tests.support.tool_server import tool_server


def files(tmp_path: Path, **content: str) -> None:
    for name, text in content.items():
        path = tmp_path / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_listing_names_kinds_and_sizes(tmp_path: Path) -> None:
    """Files, directories, links, FIFOs and sockets are listed as what they are."""
    files(tmp_path, a="12345", d__b="")
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener, tool_server(tmp_path) as server:
        listener.bind(str(tmp_path / "sock"))
        text = server.call("list_directory").text
        missing = server.call("list_directory", path="missing")
    assert text.splitlines() == [
        "[FILE] a (5 bytes)",
        "[DIR] d",
        "[LINK] link -> a",
        "[FIFO] pipe",
        "[SOCKET] sock",
    ]
    assert "missing: No such file" in missing.text


def test_a_directory_of_many_entries_is_bounded(tmp_path: Path) -> None:
    """Of thousands of entries the first are shown and the others counted."""
    for number in range(3000):
        (tmp_path / f"{number:05}").touch()
    with tool_server(tmp_path) as server:
        listed = server.call("list_directory").text
        tree = server.call("directory_tree").text
        found = server.call("search_files", pattern="*").text
    assert "[2,000 entries are not shown" in listed
    assert "more than 2,000 entries" in tree
    assert "more than 1000" in found


def test_a_tree_is_indented_and_follows_no_link(tmp_path: Path) -> None:
    """The tree shows what is below, without what is left out and without following links."""
    files(tmp_path, src__main="", src__lib__x="", node_modules__y="")
    (tmp_path / "src/up").symlink_to("..")
    with tool_server(tmp_path) as server:
        text = server.call("directory_tree", excludePatterns=["node_modules"]).text
    assert text == "src/\n  lib/\n    x\n  main\n  up (link)"


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A workspace with a directory deeper than a path can be long; pytest could not remove it."""
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", dir_fd=place)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    yield tmp_path
    subprocess.run(["rm", "-rf", "deeper"], cwd=tmp_path, check=True)


def test_a_deep_tree_is_bounded(deep: Path) -> None:
    """A directory deeper than anybody needs is shown, searched and deleted within bounds."""
    with tool_server(deep) as server:
        tree = server.call("directory_tree").text
        found = server.call("search_in_files", pattern="x").text
        deleted = server.call("delete_file", path="deeper", recursive=True)
    assert "1 directories deeper than 100" in tree
    assert "nothing found" in found
    assert "too large" in deleted.text
    assert (deep / "deeper").exists()


def test_files_are_found_by_name(tmp_path: Path) -> None:
    """Globs match names, or paths where they have directories; a plain word is part of a name."""
    files(tmp_path, src__a_test="", src__deep__b="", docs__a_test="")
    with tool_server(tmp_path) as server:
        assert server.call("search_files", pattern="*_test").text.split() == [
            "docs/a_test",
            "src/a_test",
        ]
        assert server.call("search_files", pattern="src/**/b").text == "src/deep/b"
        assert server.call("search_files", pattern="TEST", path="docs").text == "docs/a_test"
        assert server.call("search_files", pattern="nope").text == "[nothing found]"


def test_lines_are_found_by_regular_expression(tmp_path: Path) -> None:
    """Matching lines come with their numbers; binary files, links and FIFOs are not searched."""
    files(tmp_path, src__a="one\nneedle 1\n", src__b="Needle 2", notes="needle 3\n")
    (tmp_path / "binary").write_bytes(b"needle\0")
    (tmp_path / "link").symlink_to("notes")
    os.mkfifo(tmp_path / "fifo")
    with tool_server(tmp_path) as server:
        every = server.call("search_in_files", pattern=r"needle \d").text
        some = server.call(
            "search_in_files", pattern="needle", includePatterns=["src/*"], ignoreCase=True
        ).text
        single = server.call("search_in_files", pattern="e+", path="notes").text
        wrong = server.call("search_in_files", pattern="(")
    assert every.splitlines() == [
        "notes",
        "     1: needle 3",
        "src/a",
        "     2: needle 1",
        "[1 binary files were not searched]",
    ]
    assert some.splitlines() == ["src/a", "     2: needle 1", "src/b", "     1: Needle 2"]
    assert single.splitlines() == ["notes", "     1: needle 3"]
    assert wrong.result.is_error
    assert "no regular expression" in wrong.text


def test_an_endless_expression_keeps_nobody_waiting(tmp_path: Path) -> None:
    """While an expression takes for ever, other calls are answered, and it can be cancelled."""
    files(tmp_path, a="a" * 60 + "b")
    with tool_server(tmp_path) as server:
        endless = server.begin("search_in_files", pattern="(a*)*c")
        assert server.call("list_directory").text == "[FILE] a (61 bytes)"
        server.cancel(endless)
        assert server.call("search_in_files", pattern="b$").text.startswith("a\n")


def test_matches_are_bounded(tmp_path: Path) -> None:
    """Many matches and long lines are cut, and that is said."""
    files(tmp_path, many="x\n" * 1000, long="y" * 5000 + "needle" + "y" * 5000)
    with tool_server(tmp_path) as server:
        many = server.call("search_in_files", pattern="x").text
        long = server.call("search_in_files", pattern="needle").text
    assert "more than 200 matching lines" in many
    assert "needle" in long
    assert len(long) < 500


parts = st.sampled_from(["a", "b", "ab"])


@given(st.lists(parts, min_size=1, max_size=5), st.integers(0, 5), st.integers(0, 5))
def test_double_stars_stand_for_any_directories(path: list[str], begin: int, end: int) -> None:
    """`**` stands for whatever directories, also none, between what is before and after it."""
    head, tail = path[:begin], path[max(begin, end) :]
    assert Globs(["/".join([*head, "**", *tail])]).match(path)
    assert not Globs(["/".join([*head, "**", "z"])]).match(path)
