"""Write and edit files, whole or not at all. Runs on: the agent container."""

import errno
import os
import secrets
import stat
from contextlib import suppress

from runner.contract.file_tools import CreateDirectory, EditFile, WriteFile
from runner.contract.files import TEMPORARY_PREFIX
from runner.tools.calls import Answer, ToolError
from runner.tools.files.edits import EditError, Replacement, difference, edited
from runner.tools.files.kinds import check_regular, is_binary, open_regular
from runner.tools.files.places import Places
from runner.tools.files.ranges import read_at

MAX_EDIT_BYTES = 16 * 1024 * 1024
# Where the directory takes no new file or the file is a mount of its own, it can still be written.
_IN_PLACE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV})


def write_file(asked: WriteFile, places: Places) -> Answer:
    """Write a file and the directories that it needs."""
    path = places.path(asked.path)
    places.check_writable(path)
    real = os.path.realpath(path)
    os.makedirs(os.path.dirname(real), exist_ok=True)
    data = asked.content.encode("utf-8", "replace")
    was_there = replace(real, data)
    if not was_there:
        places.learn(real)
    done = "replaced" if was_there else "made"
    return Answer(f"{places.shown(path)} was {done}: {len(data):,} bytes")


def edit_file(asked: EditFile, places: Places) -> Answer:
    """Make all edits, or none; return the difference."""
    path = places.path(asked.path)
    name = places.shown(path)
    places.check_writable(path)
    with open_regular(path) as file:
        if file.size > MAX_EDIT_BYTES:
            raise ToolError(f"{name} has {file.size:,} bytes; up to {MAX_EDIT_BYTES:,} are edited")
        before = read_at(file.descriptor, 0, MAX_EDIT_BYTES)
    if is_binary(before):
        raise ToolError(f"{name} is no text file")
    edits = [Replacement(e.old_text.encode(), e.new_text.encode()) for e in asked.edits]
    try:
        after = edited(before, edits)
    except EditError as error:
        raise ToolError(f"{name}: {error}") from error
    places.learn(path)
    shown = difference(before, after, name)
    if asked.dry_run:
        return Answer(f"[not written: dryRun]\n{shown}")
    replace(os.path.realpath(path), after)
    return Answer(shown)


def create_directory(asked: CreateDirectory, places: Places) -> Answer:
    """Make a directory and those above it."""
    path = places.path(asked.path)
    places.check_writable(path)
    if os.path.isdir(path):
        return Answer(f"{places.shown(path)} exists already")
    os.makedirs(path)
    return Answer(f"{places.shown(path)} was made")


def replace(path: str, data: bytes) -> bool:
    """Make `path`, which is no link, have this content; tell whether it was there before.

    Its mode is kept. A reader sees the old file or the new one, but where the directory takes no
    new file: then the file itself is rewritten. Raises OSError, and ToolError for no regular file.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        _replace_whole(path, data, None)
        return False
    check_regular(path, status)
    try:
        _replace_whole(path, data, stat.S_IMODE(status.st_mode))
    except OSError as error:
        if error.errno not in _IN_PLACE:
            raise
        _rewrite(path, data)
    return True


def temporary_beside(path: str) -> str:
    """Return an unused name in the same directory."""
    return os.path.join(os.path.dirname(path), f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}")


def _replace_whole(path: str, data: bytes, mode: int | None) -> None:
    temporary = temporary_beside(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if mode is not None:
                os.fchmod(descriptor, mode)
        os.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _rewrite(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "wb") as file:
        check_regular(path, os.fstat(descriptor))
        file.write(data)
        file.truncate()
