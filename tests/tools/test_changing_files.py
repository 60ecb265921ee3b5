"""Copying, moving and deleting through a real tool server; what is protected stays."""

import os
from pathlib import Path

from tests.support.tool_server import tool_server


def test_a_file_is_copied_and_moved(tmp_path: Path) -> None:
    """Copies keep content and mode; nothing is overwritten without being asked."""
    (tmp_path / "a").write_text("content")
    (tmp_path / "a").chmod(0o755)
    with tool_server(tmp_path) as server:
        copied = server.call("copy_file", source_path="a", destination_path="new/b")
        again = server.call("copy_file", source_path="a", destination_path="new/b")
        over = server.call("copy_file", source_path="a", destination_path="new/b", overwrite=True)
        moved = server.call("move_file", source="a", destination="c")
        clash = server.call("move_file", source="c", destination="new/b")
    assert [d.result.is_error for d in (copied, again, over, moved, clash)] == [
        *(False, True, False, False, True)
    ]
    assert (tmp_path / "new/b").read_text() == "content"
    assert os.access(tmp_path / "new/b", os.X_OK)
    assert not (tmp_path / "a").exists()


def test_a_directory_is_copied_with_its_links_as_links(tmp_path: Path) -> None:
    """Links are copied as they are, what is neither file nor directory is left out and said."""
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner/file").write_text("x")
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "fifo")
    with tool_server(tmp_path) as server:
        done = server.call("copy_file", source_path="source", destination_path="copy")
        inside = server.call("copy_file", source_path="source", destination_path="source/inner/c")
    assert "1 files, 1 bytes (1 that are neither" in done.text
    assert os.readlink(tmp_path / "copy/link") == "/etc/passwd"
    assert (tmp_path / "copy/inner/file").read_text() == "x"
    assert "into itself" in inside.text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "source"]


def test_only_what_was_read_or_made_is_deleted(tmp_path: Path) -> None:
    """A file can be deleted once it was read; a directory when all its files were."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/known").write_text("1")
    (tmp_path / "d/unknown").write_text("2")
    (tmp_path / "d/module.pyc").write_text("made by a program")
    with tool_server(tmp_path) as server:
        early = server.call("delete_file", path="d/known")
        server.call("read_text_file", path="d/known")
        all_of_it = server.call("delete_file", path="d", recursive=True)
        server.call("read_multiple_files", paths=["d/unknown"])
        plain = server.call("delete_file", path="d")
        server.call("move_file", source="d", destination="e")
        last = server.call("delete_file", path="e", recursive=True)
        server.call("write_file", path="made", content="x")
        made = server.call("delete_file", path="made")
    assert "read it before" in early.text
    assert "1 files in d were not read yet: d/unknown" in all_of_it.text
    assert "not empty" in plain.text
    assert "with 3 files" in last.text
    assert not made.result.is_error
    assert list(tmp_path.iterdir()) == []


def test_reading_first_can_be_turned_off(tmp_path: Path) -> None:
    """Where the configuration says so, files are deleted unread."""
    (tmp_path / "a").write_text("x")
    with tool_server(tmp_path, enforce_read_before_delete=False) as server:
        assert not server.call("delete_file", path="a").result.is_error


def test_a_link_is_deleted_and_not_what_it_leads_to(tmp_path: Path) -> None:
    """Deleting and moving a link leave its target alone."""
    (tmp_path / "target").mkdir()
    (tmp_path / "target/file").write_text("x")
    (tmp_path / "link").symlink_to("target")
    with tool_server(tmp_path) as server:
        server.call("move_file", source="link", destination="moved")
        server.call("delete_file", path="moved", recursive=True)
    assert [p.name for p in tmp_path.iterdir()] == ["target"]
    assert (tmp_path / "target/file").exists()


def test_what_is_protected_is_not_changed(tmp_path: Path) -> None:
    """No tool changes, replaces, moves or deletes it, by whatever way it is named."""
    keep = tmp_path / "project/keep"
    keep.mkdir(parents=True)
    (keep / "file").write_text("as it was")
    (tmp_path / "way").symlink_to("project/keep")
    with tool_server(tmp_path, protected_paths=("project/keep",)) as server:
        for path in ("project/keep/file", "way/file", "project/../project/keep/file", str(keep)):
            server.call("read_text_file", path="project/keep/file")
            edits = [{"oldText": "was", "newText": "is"}]
            refused = [
                server.call("write_file", path=path, content="x"),
                server.call("edit_file", path=path, edits=edits),
                server.call("create_directory", path=f"{path}/new"),
                server.call("copy_file", source_path="way", destination_path=f"{path}/new"),
                server.call("move_file", source=path, destination="elsewhere"),
                server.call("move_file", source="way", destination=f"{path}/new"),
                server.call("delete_file", path=path, recursive=True),
                server.call("delete_file", path="project", recursive=True),
                server.call("move_file", source="project", destination="elsewhere"),
            ]
            assert all("protected" in done.text for done in refused), (path, refused)
            assert all(done.result.is_error for done in refused), path
        assert server.call("read_text_file", path="way/file").text == "as it was"
        server.call("delete_file", path="way")
    assert (keep / "file").read_text() == "as it was"
    assert [p.name for p in tmp_path.iterdir()] == ["project"]


def test_the_workspace_itself_stays(tmp_path: Path) -> None:
    """Neither the workspace, nor a shared directory, nor what holds one is deleted or moved."""
    shared = tmp_path / "shared"
    workspace = tmp_path / "workspace"
    shared.mkdir()
    workspace.mkdir()
    with tool_server(
        workspace, context_paths=(str(shared),), enforce_read_before_delete=False
    ) as server:
        for path in (".", str(workspace), str(shared), str(tmp_path), "/", "../workspace/."):
            done = server.call("delete_file", path=path, recursive=True)
            assert done.result.is_error, path
            assert "it stays" in done.text, path
            assert server.call("move_file", source=path, destination="m").result.is_error
    assert shared.exists()
