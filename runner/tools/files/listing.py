"""List directories and find files by name. Runs on: the agent container."""

import os
from collections.abc import Iterable

from runner.contract.file_tools import DirectoryTree, ListDirectory, SearchFiles
from runner.tools.calls import Answer, ToolError
from runner.tools.files.globs import Globs, has_wildcards
from runner.tools.files.kinds import kind_of
from runner.tools.files.names import shown
from runner.tools.files.places import Places
from runner.tools.files.walk import Entry, Walk

MAX_LISTED = 1000
MAX_COUNTED = 100_000


def list_directory(asked: ListDirectory, places: Places) -> Answer:
    """Return a line for each entry, sorted by name."""
    path = places.path(asked.path)
    names: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) > MAX_COUNTED:
                break
    names.sort()
    lines = [_line(path, name) for name in names[:MAX_LISTED]]
    if len(names) > MAX_LISTED:
        more = f"{len(names) - MAX_LISTED:,}{' or more' if len(names) > MAX_COUNTED else ''}"
        lines.append(f"[{more} entries are not shown; search_files finds them by name]")
    return Answer("\n".join(lines) or "[empty directory]")


def _line(directory: str, name: str) -> str:
    path = os.path.join(directory, name)
    try:
        status = os.lstat(path)
        kind = kind_of(status.st_mode)
        if kind == "link":
            return f"[LINK] {shown(name)} -> {shown(os.readlink(path))}"
    except OSError as error:
        return f"[?] {shown(name)} ({error.strerror})"
    if kind == "file":
        return f"[FILE] {shown(name)} ({status.st_size:,} bytes)"
    return f"[{'DIR' if kind == 'directory' else kind.upper()}] {shown(name)}"


def directory_tree(asked: DirectoryTree, places: Places) -> Answer:
    """Return a directory and what is below it, two spaces for each level."""
    path = places.path(asked.path)
    walk = Walk(_directory(path, places), Globs(asked.exclude_patterns), most=2000)
    lines = [f"{'  ' * (len(entry.names) - 1)}{_in_tree(entry)}" for entry in walk]
    return _answer(lines, walk, "[empty directory]")


def _in_tree(entry: Entry) -> str:
    name = shown(entry.names[-1])
    if entry.is_directory:
        return f"{name}/"
    return name if entry.is_file else f"{name} ({_other_kind(entry.path)})"


def _other_kind(path: str) -> str:
    try:
        return kind_of(os.lstat(path).st_mode)
    except OSError as error:
        return str(error.strerror)


def search_files(asked: SearchFiles, places: Places) -> Answer:
    """Return the paths below a directory whose name, or path, a glob matches."""
    path = places.path(asked.path)
    walk = Walk(_directory(path, places), Globs(asked.exclude_patterns))
    lines: list[str] = []
    for entry in _matching(walk, asked.pattern):
        if len(lines) == MAX_LISTED:
            lines.append(f"[there are more than {MAX_LISTED}: give a narrower pattern]")
            break
        lines.append(places.shown(entry.path) + ("/" if entry.is_directory else ""))
    return _answer(lines, walk, "[nothing found]")


def _matching(walk: Walk, pattern: str) -> Iterable[Entry]:
    if has_wildcards(pattern) or "/" in pattern:
        globs = Globs((pattern,))
        return (entry for entry in walk if globs.match(entry.names))
    part = pattern.casefold()
    return (entry for entry in walk if part in entry.names[-1].casefold())


def _directory(path: str, places: Places) -> str:
    status = os.stat(path)
    if kind_of(status.st_mode) != "directory":
        raise ToolError(f"{places.shown(path)} is no directory but a {kind_of(status.st_mode)}")
    return path


def _answer(lines: list[str], walk: Walk, nothing: str) -> Answer:
    notes = [f"[not all was seen: {'; '.join(walk.left_out)}]"] if walk.left_out else []
    return Answer("\n".join([*(lines or [nothing]), *notes]))
