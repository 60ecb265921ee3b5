"""Writing and editing files through a real tool server."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.tools.files.edits import EditError, Replacement, difference, edited
from tests.support.tool_server import Done, ToolServer, tool_server


def edit(server: ToolServer, path: str, *pairs: tuple[str, str], **more: Any) -> Done:
    edits = [{"oldText": old, "newText": new} for old, new in pairs]
    return server.call("edit_file", path=path, edits=edits, **more)


def test_a_file_is_written_with_its_directories(tmp_path: Path) -> None:
    """Writing makes what is missing, replaces what is there, and keeps its mode."""
    with tool_server(tmp_path) as server:
        first = server.call("write_file", path="a/b/c.sh", content="one ä")
        (tmp_path / "a/b/c.sh").chmod(0o750)
        second = server.call("write_file", path="a/b/c.sh", content="two")
    assert "made: 6 bytes" in first.text
    assert "replaced: 3 bytes" in second.text
    assert (tmp_path / "a/b/c.sh").read_text() == "two"
    assert stat.S_IMODE((tmp_path / "a/b/c.sh").stat().st_mode) == 0o750
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["c.sh"]


def test_writing_through_a_link_changes_its_target(tmp_path: Path) -> None:
    """A link stays a link; the file that it leads to is written."""
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with tool_server(tmp_path) as server:
        server.call("write_file", path="link", content="new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_calls_of_one_reply_are_carried_out_in_their_order(tmp_path: Path) -> None:
    """A file is written before the call that came next edits it."""
    with tool_server(tmp_path) as server:
        for number in range(20):
            write = server.begin("write_file", path="f", content=f"old {number}")
            edits = [{"oldText": f"old {number}", "newText": "new"}]
            change = server.begin("edit_file", path="f", edits=edits)
            assert not server.done(write).result.is_error
            assert not server.done(change).result.is_error
    assert (tmp_path / "f").read_text() == "new"


def test_an_edit_returns_its_difference(tmp_path: Path) -> None:
    """Edits are made one after the other and shown as a diff; dryRun changes nothing."""
    (tmp_path / "a.py").write_text("".join(f"line {n}\n" for n in range(1, 41)))
    with tool_server(tmp_path) as server:
        dry = edit(server, "a.py", ("line 20\n", "changed\n"), dryRun=True)
        assert (tmp_path / "a.py").read_text().count("changed") == 0
        done = edit(server, "a.py", ("line 20\n", "changed\n"), ("changed", "changed twice"))
    assert "-line 20\n+changed\n" in dry.text
    assert "@@ -17,7 +17,7 @@" in done.text
    assert "-line 20\n+changed twice\n" in done.text
    assert "line 1\n" in (tmp_path / "a.py").read_text()


def test_an_edit_that_cannot_be_made_changes_nothing(tmp_path: Path) -> None:
    """What is not found, or found twice, is explained; the edits before it are not made."""
    text = "def first():\n    pass\n\ndef second():\n    pass\n"
    (tmp_path / "a.py").write_text(text)
    with tool_server(tmp_path) as server:
        twice = edit(server, "a.py", ("def first", "def one"), ("pass", "return"))
        missing = edit(server, "a.py", ("def secnd():\n    pass", "x"))
    assert twice.result.is_error
    assert "edit 2 of 2: oldText is in the file 2 times (lines 2, 5)" in twice.text
    assert "Nearest, from line 4:\ndef second():" in missing.text
    assert (tmp_path / "a.py").read_text() == text


def test_an_edit_keeps_what_it_does_not_touch(tmp_path: Path) -> None:
    """Line ends of the file and bytes that are no UTF-8 stay as they are."""
    (tmp_path / "a").write_bytes(b"\xff one\r\ntwo\r\nthree\r\n")
    with tool_server(tmp_path) as server:
        edit(server, "a", ("one\ntwo", "1\n2"))
    assert (tmp_path / "a").read_bytes() == b"\xff 1\r\n2\r\nthree\r\n"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """What cannot be written is an error with its reason, and no temporary file stays."""
    with tool_server(tmp_path) as server:
        done = server.call("write_file", path="/proc/made", content="x")
        long = server.call("write_file", path="n" * 300, content="x")
    assert done.result.is_error
    assert "File name too long" in long.text
    assert list(tmp_path.iterdir()) == []


def test_names_of_any_kind_can_be_seen_and_given(tmp_path: Path) -> None:
    """A name with a newline, an escape or invalid UTF-8 is shown quoted and taken as shown."""
    names = [b"new\nline", b"\x1b[31mred", b"\xff\xfe", "b\u202eidi".encode(), b"$'x'", b"a\\nb"]
    for number, name in enumerate(names):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text(f"content {number}")
    with tool_server(tmp_path) as server:
        listed = server.call("list_directory").text
        shown = [line.partition(" ")[2].rpartition(" (")[0] for line in listed.splitlines()]
        assert len(shown) == len(names)
        assert all(name.isprintable() for name in shown)
        read = {server.call("read_text_file", path=name).text for name in shown}
    assert read == {f"content {number}" for number in range(len(names))}


pieces = st.text(st.sampled_from("ab\nä"), min_size=1, max_size=8)


@settings(deadline=None)
@given(st.text(st.sampled_from("ab\nä"), max_size=40), pieces, pieces)
def test_an_edit_is_made_where_its_text_is_once(text: str, old: str, new: str) -> None:
    """An edit is str.replace where the text is there once, and an error otherwise."""
    content = text.encode()
    once = sum(text.startswith(old, at) for at in range(len(text))) == 1
    edits = [Replacement(old.encode(), new.encode())]
    if once and old != new:
        assert edited(content, edits).decode() == text.replace(old, new)
    else:
        with pytest.raises(EditError, match="nothing was changed"):
            edited(content, edits)


lines = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=30)


@settings(deadline=None)
@given(lines, lines)
def test_a_difference_leads_from_one_to_the_other(before: list[str], after: list[str]) -> None:
    """Applied to the old lines, the hunks give the new ones."""
    diff = difference("\n".join(before).encode(), "\n".join(after).encode(), "f").splitlines()
    result, at = [], 0
    old = "\n".join(before).split("\n")
    for line in diff[2:]:
        if line.startswith("@@"):
            begin, _, length = line.split()[1].removeprefix("-").partition(",")
            start = int(begin) - (length != "0")
            result += old[at:start]
            at = start
        elif line.startswith("+"):
            result.append(line[1:])
        else:
            at += 1
            result += [line[1:]] if line.startswith(" ") else []
    assert result + old[at:] == "\n".join(after).split("\n")
