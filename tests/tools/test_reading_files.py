"""Reading files through a real tool server: ranges, pictures, what is no text."""

import base64
import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.tools.files.ranges import MAX_READ_BYTES, cut, decoded, start_of_line, start_of_tail
from runner.tools.files.ranges import take as taken
from tests.support.tool_server import tool_server

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_a_text_file_is_returned_as_it_is(tmp_path: Path) -> None:
    """A small text file is the whole answer, relative and absolute."""
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    with tool_server(tmp_path) as server:
        assert server.call("read_text_file", path="a.txt").text == "one\ntwo\n"
        assert server.call("read_text_file", path=str(tmp_path / "a.txt")).text == "one\ntwo\n"


def test_ranges_of_lines(tmp_path: Path) -> None:
    """head, tail and offset with limit give those lines, and say what is left."""
    (tmp_path / "a").write_text("".join(f"line {n}\n" for n in range(1, 11)))
    with tool_server(tmp_path) as server:
        head = server.call("read_text_file", path="a", head=2)
        assert head.text == "line 1\nline 2\n[57 of 71 bytes are left: go on with start_byte=14]"
        assert server.call("read_text_file", path="a", tail=2).text == "line 9\nline 10\n"
        middle = server.call("read_text_file", path="a", offset=3, limit=1)
        assert middle.text.startswith("line 3\n[")
        assert "ends at byte 71" in server.call("read_text_file", path="a", offset=99).text
        both = server.call("read_text_file", path="a", head=1, tail=1)
        assert both.result.is_error


def test_a_huge_file_is_read_in_pieces(tmp_path: Path) -> None:
    """A file longer than one answer is cut, and start_byte leads through all of it."""
    content = "".join(f"{n:06d} ä\n" for n in range(12_000))
    (tmp_path / "big").write_text(content)
    read, begin = "", 0
    with tool_server(tmp_path) as server:
        while True:
            text = server.call("read_text_file", path="big", start_byte=begin).text
            body, _, note = text.rpartition("[") if text.endswith("]") else (text, "", "")
            read += body
            if not note:
                break
            begin = int(note.removesuffix("]").rpartition("=")[2])
    assert read == content


def test_a_sparse_terabyte_is_described(tmp_path: Path) -> None:
    """A file of a terabyte is described at once, also at its end."""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    with tool_server(tmp_path) as server:
        assert "1,099,511,627,776 bytes" in server.call("read_text_file", path="huge").text
        assert "no text" in server.call("read_text_file", path="huge", tail=5).text
        assert "too many" in server.call("copy_file", source_path="huge", destination_path="b").text


def test_bytes_that_are_no_utf8_are_replaced(tmp_path: Path) -> None:
    """Invalid bytes are replaced, and their number is said."""
    (tmp_path / "latin").write_bytes(b"caf\xe9 \xff\n")
    with tool_server(tmp_path) as server:
        text = server.call("read_text_file", path="latin").text
    assert text.startswith("caf\ufffd \ufffd\n")
    assert "2 bytes are no UTF-8" in text


def test_what_is_no_regular_file_is_never_waited_for(tmp_path: Path) -> None:
    """FIFOs, devices, directories and loops of links are errors that name what they are."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "directory").mkdir()
    with tool_server(tmp_path) as server:
        for path, said in {
            "fifo": "a FIFO",
            "/dev/zero": "a character device",
            "loop": "Too many levels",
            "directory": "a directory",
            "missing": "missing: No such file",
            "a\0b": "null characters",
        }.items():
            for tool in ("read_text_file", "read_media_file"):
                done = server.call(tool, path=path)
                assert done.result.is_error, path
                assert said in done.text, path
        written = server.call("write_file", path="fifo", content="x")
        assert "a FIFO" in written.text


def test_several_files_at_once(tmp_path: Path) -> None:
    """One file that cannot be read does not keep back the others."""
    (tmp_path / "a").write_text("first")
    (tmp_path / "b").write_text("second")
    with tool_server(tmp_path) as server:
        done = server.call("read_multiple_files", paths=["a", "missing", "b"])
    assert not done.result.is_error
    assert "first" in done.text
    assert "[No such file or directory]" in done.text
    assert "second" in done.text


def test_a_picture_is_returned_as_a_picture(tmp_path: Path) -> None:
    """A PNG comes back byte for byte; what is no picture, or too large, is an error."""
    (tmp_path / "dot.png").write_bytes(PNG)
    (tmp_path / "note.png").write_text("no picture")
    with (tmp_path / "large.png").open("wb") as file:
        file.write(PNG)
        file.truncate(6 * 1024 * 1024)
    with tool_server(tmp_path) as server:
        result = server.call("read_media_file", path="dot.png").result
        assert "no picture: text" in server.call("read_media_file", path="note.png").text
        assert "can be shown" in server.call("read_media_file", path="large.png").text
        assert "read_media_file shows it" in server.call("read_text_file", path="dot.png").text
    [image] = result.images
    assert image.media_type == "image/png"
    assert base64.b64decode(image.data) == PNG


def test_file_info(tmp_path: Path) -> None:
    """Kind, size and content of a file are told, and where a link leads."""
    (tmp_path / "a.py").write_text("pass\n")
    (tmp_path / "link").symlink_to("nowhere")
    with tool_server(tmp_path) as server:
        text = server.call("get_file_info", path="a.py").text
        link = server.call("get_file_info", path="link").text
    assert "type: file\nsize: 5 bytes\ncontent: text\n" in text
    assert "target: nowhere (lost)" in link


texts = st.text(st.sampled_from("a\nä😀"), max_size=60)


@settings(deadline=None)
@given(texts, st.integers(1, 12))
def test_lines_are_found_in_any_file(text: str, line: int) -> None:
    """The nth line begins, and the last n lines begin, where Python says so."""
    data = text.encode()
    lines = data.splitlines(keepends=True)
    descriptor = os.memfd_create("text")
    try:
        os.write(descriptor, data)
        assert start_of_line(descriptor, line) == len(b"".join(lines[: line - 1]))
        assert start_of_tail(descriptor, len(data), line) == len(b"".join(lines[:-line]))
        assert taken(descriptor, 0, line) == b"".join(lines[:line])
    finally:
        os.close(descriptor)


@settings(deadline=None)
@given(st.text(st.sampled_from("ab\nä€😀"), min_size=1), st.integers(4, 20))
def test_pieces_are_whole_characters_and_make_up_the_file(text: str, most: int) -> None:
    """Cut wherever, pieces are valid text and together the whole."""
    data = text.encode()
    pieces = []
    while data:
        piece = data if len(data) <= most else cut(data[:most])
        assert decoded(piece).replaced == 0
        pieces.append(piece)
        data = data[len(piece) :]
    assert b"".join(pieces) == text.encode()
    assert most < MAX_READ_BYTES
