"""Read files: text in ranges, pictures, what a file is. Runs on: the agent container."""

import base64
import os
import stat
from datetime import UTC, datetime
from typing import Literal, cast

from runner.contract.file_tools import GetFileInfo, ReadMediaFile, ReadMultipleFiles, ReadTextFile
from runner.contract.tools import Image
from runner.tools.calls import Answer, ToolError
from runner.tools.files.kinds import (
    HEAD_BYTES,
    Opened,
    content_type,
    is_binary,
    kind_of,
    open_regular,
)
from runner.tools.files.names import shown
from runner.tools.files.places import Places
from runner.tools.files.ranges import (
    MAX_READ_BYTES,
    MAX_SCAN_BYTES,
    TooFarError,
    decoded,
    read_at,
    start_of_line,
    start_of_tail,
    take,
)

MAX_IMAGE_BYTES = 5 * 1024 * 1024
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_MediaType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]


def read_text_file(asked: ReadTextFile, places: Places) -> Answer:
    """Return a range of a text file, and how to go on where something is left."""
    ways = (asked.head, asked.tail, asked.offset, asked.start_byte)
    if sum(way is not None for way in ways) > 1 or (asked.limit and (asked.head or asked.tail)):
        raise ToolError("give one of head, tail, offset and start_byte; limit with the last two")
    path = places.path(asked.path)
    with open_regular(path) as file:
        places.learn(path)
        head = os.pread(file.descriptor, HEAD_BYTES, 0)
        if is_binary(head):
            return Answer(_described(places.shown(path), head, file))
        try:
            begin = _begin(asked, file)
        except TooFarError:
            far = f"the line lies beyond the first {MAX_SCAN_BYTES:,} bytes: give start_byte"
            raise ToolError(far) from None
        data = take(file.descriptor, begin, asked.head or asked.limit)
        return Answer(_range(data, begin, file))


def _begin(asked: ReadTextFile, file: Opened) -> int:
    if asked.tail is not None:
        return start_of_tail(file.descriptor, file.size, asked.tail)
    if asked.offset is not None:
        return start_of_line(file.descriptor, asked.offset)
    return asked.start_byte or 0


def _range(data: bytes, begin: int, file: Opened) -> str:
    text, replaced = decoded(data)
    end = begin + len(data)
    notes = []
    if not data:
        notes.append(f"nothing: the file ends at byte {file.size:,}" if begin else "empty file")
    if os.pread(file.descriptor, 1, end) and data:
        left = f"{file.size - end:,} of {file.size:,} bytes are left" if file.size > end else "more"
        notes.append(f"{left}: go on with start_byte={end}")
    if replaced:
        notes.append(f"{replaced:,} bytes are no UTF-8 and are shown as \ufffd")
    gap = "" if not text or text.endswith("\n") else "\n"
    return text + "".join(f"{gap}[{'; '.join(notes)}]" if notes else "")


def _described(name: str, head: bytes, file: Opened) -> str:
    kind = content_type(head)
    how = "; read_media_file shows it" if kind in _IMAGES else ""
    return f"[{name} is no text: {kind}, {file.size:,} bytes{how}]"


def read_multiple_files(asked: ReadMultipleFiles, places: Places) -> Answer:
    """Return several files under headings; each says for itself what is wrong with it."""
    parts, room = [], MAX_READ_BYTES
    for path in asked.paths:
        heading = f"==> {shown(places.path(path))} <=="
        if room <= 0:
            parts.append(f"{heading}\n[not read: the others filled the answer]")
            continue
        try:
            text = read_text_file(ReadTextFile(path=path), places).text
        except ToolError as error:
            text = f"[{error}]"
        except OSError as error:
            text = f"[{error.strerror}]"
        room -= len(text.encode())
        parts.append(f"{heading}\n{text}")
    return Answer("\n\n".join(parts))


def read_media_file(asked: ReadMediaFile, places: Places) -> Answer:
    """Return a picture as it is."""
    path = places.path(asked.path)
    name = places.shown(path)
    with open_regular(path) as file:
        places.learn(path)
        data = read_at(file.descriptor, 0, MAX_IMAGE_BYTES + 1)
        kind = content_type(data[:HEAD_BYTES])
        if kind not in _IMAGES:
            raise ToolError(f"{name} is no picture: {kind}, {file.size:,} bytes")
        if len(data) > MAX_IMAGE_BYTES:
            most = f"at most {MAX_IMAGE_BYTES:,} can be shown"
            raise ToolError(f"{name} has {file.size:,} bytes; {most}")
    image = Image(media_type=cast(_MediaType, kind), data=base64.b64encode(data).decode())
    return Answer(f"{name}: {kind}, {len(data):,} bytes", images=(image,))


def get_file_info(asked: GetFileInfo, places: Places) -> Answer:
    """Return what is known of a file without reading it."""
    path = places.path(asked.path)
    status = os.lstat(path)
    kind = kind_of(status.st_mode)
    lines = [f"path: {shown(path)}", f"type: {kind}", f"size: {status.st_size:,} bytes"]
    if kind == "link":
        lines.append(
            f"target: {shown(os.readlink(path))}{'' if os.path.exists(path) else ' (lost)'}"
        )
    if kind == "file":
        lines.append(f"content: {_content(path)}")
    lines += [
        f"modified: {_time(status.st_mtime)}",
        f"accessed: {_time(status.st_atime)}",
        f"permissions: {stat.filemode(status.st_mode)}",
        f"writable: {'yes' if os.access(path, os.W_OK) else 'no'}",
    ]
    return Answer("\n".join(lines))


def _content(path: str) -> str:
    try:
        with open_regular(path) as file:
            return content_type(os.pread(file.descriptor, HEAD_BYTES, 0))
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return "out of range"
