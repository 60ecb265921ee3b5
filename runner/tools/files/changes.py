"""Copy, move and delete files and directories. Runs on: the agent container."""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from runner.contract.file_tools import CopyFile, DeleteFile, MoveFile
from runner.tools.calls import Answer, ToolError
from runner.tools.files.globs import Globs
from runner.tools.files.kinds import check_regular, kind_of, open_regular
from runner.tools.files.places import Places, entry_of
from runner.tools.files.walk import Entry, Walk
from runner.tools.files.writing import temporary_beside

MAX_COPY_BYTES = 1024 * 1024 * 1024
"""Of one call; a sparse file counts with its whole length."""


class Tree(NamedTuple):
    """All that is below a directory, each directory before what it holds."""

    entries: tuple[Entry, ...]
    size: int
    """Bytes in its files."""


def tree_of(path: str, places: Places) -> Tree:
    """Return what is below a directory. Raises ToolError where it is too much to be sure of."""
    walk = Walk(path, Globs(()))
    entries = tuple(walk)
    if walk.left_out:
        raise ToolError(f"{places.shown(path)} is too large: {'; '.join(walk.left_out)}")
    return Tree(entries, sum(os.lstat(e.path).st_size for e in entries if e.is_file))


def copy_file(asked: CopyFile, places: Places) -> Answer:
    """Copy a file or a directory: all of it is there in the end, or nothing."""
    source = os.path.realpath(places.path(asked.source_path))
    given = places.path(asked.destination_path)
    destination = os.path.realpath(given)
    is_directory = kind_of(os.stat(source).st_mode) == "directory"
    places.check_writable(destination)
    _check_free(destination, given, places, overwrite=asked.overwrite and not is_directory)
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    what = _copy(source, destination, places)
    return Answer(f"{what} copied to {places.shown(given)}")


def _check_free(destination: str, given: str, places: Places, *, overwrite: bool) -> None:
    if not os.path.lexists(destination):
        return
    if not overwrite:
        raise ToolError(f"{places.shown(given)} exists already")
    check_regular(given, os.lstat(destination))


def _copy(source: str, destination: str, places: Places) -> str:
    temporary = temporary_beside(destination)
    if kind_of(os.stat(source).st_mode) == "directory":
        if destination.startswith(f"{source.rstrip('/')}/"):
            raise ToolError("a directory cannot be copied into itself")
        tree = tree_of(source, places)
        _check_size(tree.size)
        skipped = _or_undone(temporary, lambda: _copy_tree(source, tree, temporary, destination))
        for entry in tree.entries:
            if entry.is_file:
                places.learn(os.path.join(destination, *entry.names))
        count = sum(entry.is_file for entry in tree.entries)
        left = f" ({skipped} that are neither files, directories nor links left out)"
        return f"{count:,} files, {tree.size:,} bytes{left if skipped else ''}"
    size = _or_undone(temporary, lambda: _copy_whole(source, temporary, destination))
    places.learn(destination)
    return f"{size:,} bytes"


def _or_undone(temporary: str, make: Callable[[], int]) -> int:
    """Return what `make` returns; where it fails, what it made is taken away again."""
    try:
        return make()
    except BaseException:
        _remove_quietly(temporary)
        raise


def _check_size(size: int) -> None:
    if size > MAX_COPY_BYTES:
        raise ToolError(f"{size:,} bytes are too many: up to {MAX_COPY_BYTES:,} are copied")


def _copy_whole(source: str, temporary: str, destination: str) -> int:
    size = _copy_regular(source, temporary)
    os.rename(temporary, destination)
    return size


def _copy_regular(source: str, destination: str) -> int:
    """Copy a regular file with its mode to a new name; return its size."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open_regular(source) as file:
        _check_size(file.size)
        descriptor = os.open(destination, flags, 0o600)
        with os.fdopen(descriptor, "wb") as copy:
            position = 0
            while data := os.pread(file.descriptor, 1024 * 1024, position):
                position += len(data)
                _check_size(position)  # a file can grow while it is copied
                copy.write(data)
            os.fchmod(descriptor, stat.S_IMODE(file.status.st_mode) & 0o777)
    return position


def _copy_tree(source: str, tree: Tree, temporary: str, destination: str) -> int:
    """Copy a directory; return how many entries were neither files, directories nor links."""
    skipped = 0
    os.mkdir(temporary)
    for entry in tree.entries:
        to = os.path.join(temporary, *entry.names)
        if entry.is_directory:
            os.mkdir(to)
        elif entry.is_file:
            _copy_regular(entry.path, to)
        elif os.path.islink(entry.path):
            os.symlink(os.readlink(entry.path), to)
        else:
            skipped += 1
    os.chmod(temporary, stat.S_IMODE(os.stat(source).st_mode) & 0o777 | 0o700)
    os.rename(temporary, destination)
    return skipped


def move_file(asked: MoveFile, places: Places) -> Answer:
    """Rename a file or a directory, or copy and delete it where it changes file systems."""
    given, to = places.path(asked.source), places.path(asked.destination)
    source, destination = entry_of(given), entry_of(to)
    os.lstat(source)
    places.check_removable(given)
    places.check_writable(destination)
    if os.path.lexists(destination):
        raise ToolError(f"{places.shown(to)} exists already")
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    try:
        os.rename(source, destination)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise ToolError("a directory cannot be moved into itself") from error
        if error.errno != errno.EXDEV:
            raise
        _move_across(source, destination, places)
    places.learn_moved(source, destination)
    return Answer(f"{places.shown(given)} is now {places.shown(to)}")


def _move_across(source: str, destination: str, places: Places) -> None:
    if os.path.islink(source):
        os.symlink(os.readlink(source), destination)
        os.unlink(source)
        return
    before = os.lstat(source)
    _copy(source, destination, places)
    _remove(source, before.st_mode, places)


def delete_file(asked: DeleteFile, places: Places) -> Answer:
    """Delete a file or link, an empty directory, or with `recursive` any that is known."""
    path = places.path(asked.path)
    name, entry = places.shown(path), entry_of(path)
    mode = os.lstat(entry).st_mode
    places.check_removable(path)
    if not stat.S_ISDIR(mode):
        if stat.S_ISREG(mode) and not places.is_known(entry):
            raise ToolError(f"{name} was not read yet: read it before you delete it")
        os.unlink(entry)
        places.forget(entry)
        return Answer(f"{name} was deleted")
    if not asked.recursive:
        try:
            os.rmdir(entry)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            raise ToolError(f"{name} is not empty: give recursive") from error
        return Answer(f"{name} was deleted")
    count = _remove(entry, mode, places, must_know=True)
    return Answer(f"{name} was deleted, with {count:,} files and directories in it")


def _remove(path: str, mode: int, places: Places, *, must_know: bool = False) -> int:
    """Delete a file or a directory; return how much was in it."""
    if not stat.S_ISDIR(mode):
        os.unlink(path)
        return 0
    tree = tree_of(path, places)
    if must_know:
        _check_known(tree, path, places)
    for entry in reversed(tree.entries):
        (os.rmdir if entry.is_directory else os.unlink)(entry.path)
        places.forget(entry.path)
    os.rmdir(path)
    return len(tree.entries)


def _check_known(tree: Tree, path: str, places: Places) -> None:
    unread = [e for e in tree.entries if e.is_file and not places.is_known(e.path)]
    if unread:
        some = ", ".join(places.shown(entry.path) for entry in unread[:3])
        what = f"{len(unread):,} files in {places.shown(path)} were not read yet: {some}"
        raise ToolError(f"{what}{' …' if len(unread) > 3 else ''}")


def _remove_quietly(path: str) -> None:
    """Take away what a copy left; the error that brought us here is the one to report."""
    with suppress(OSError):
        os.unlink(path)
    shutil.rmtree(path, ignore_errors=True)
