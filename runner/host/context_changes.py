"""Apply what a winner changed in its copy of a context path. Runs on: host.

Containers are dead by then, so the copy is still; what is in it is an agent's all the same. Each
file is replaced in one step; a file that somebody changed meanwhile is left as it is.
"""

import fnmatch
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from runner.contract.files import TEMPORARY_PREFIX, open_directory, open_regular
from runner.host.context_tree import Entry, Tree, read_entry

RUN_BY_OTHERS = (
    *(".git/hooks/*", "*/.git/hooks/*", ".git/config", "*/.git/config", ".github/workflows/*"),
    *("*.pth", "sitecustomize.py", "usercustomize.py", "conftest.py", "setup.py"),
    *(".envrc", ".bashrc", ".profile", ".bash_profile", ".zshrc", ".zshenv", ".npmrc"),
    *(".vscode/*", "*/.vscode/*", ".pre-commit-config.yaml", "package.json", "Makefile"),
)
"""Files that other programs run, or take orders from, without being asked to."""

ChangeKind = Literal["added", "changed", "deleted"]


class Change(NamedTuple):
    """One path that is not what it was."""

    path: str
    kind: ChangeKind
    before: Entry | None
    after: Entry | None


class Applied(NamedTuple):
    """What became of a change."""

    path: str
    kind: ChangeKind
    is_applied: bool
    note: str = ""
    """Why it was not applied, or what to look at before it is used."""


def changes(before: Tree, after: Tree) -> list[Change]:
    """Return what differs: what is gone first, the deepest first, then the rest from the top."""
    gone = [path for path in before if path not in after]
    deleted = [Change(path, "deleted", before[path], None) for path in sorted(gone, reverse=True)]
    others: list[Change] = []
    for path in sorted(after):
        old, new = before.get(path), after[path]
        if old is None:
            others.append(Change(path, "added", None, new))
        elif old != new:
            others.append(Change(path, "changed", old, new))
    return [*deleted, *others]


def apply_changes(
    found: Sequence[Change], *, copy: Path, root: Path, protected: Sequence[str], dry_run: bool
) -> Iterator[Applied]:
    """Yield each change as it is, or with a dry run would be, carried out below `root`."""
    for change in found:
        problem = _refusal(change, protected) or _conflict(change, root)
        if not problem and not dry_run:
            problem = _carried_out(change, copy, root)
        note = problem or _warning(change)
        yield Applied(change.path, change.kind, not problem, note)


def _refusal(change: Change, protected: Sequence[str]) -> str:
    path = PurePosixPath(change.path)
    if any(path.is_relative_to(part) for part in protected):
        return "is protected"
    if change.after and change.after.kind == "link" and not _stays_inside(change):
        return f"is a link that leads outside ({change.after.content})"
    return ""


def _stays_inside(change: Change) -> bool:
    """Tell whether a link, read as text from where it stands, leads to something in the tree."""
    target = change.after.content if change.after else ""
    if target.startswith("/"):
        return False
    depth = len(PurePosixPath(change.path).parent.parts)
    for part in PurePosixPath(target).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return False
    return True


def _conflict(change: Change, root: Path) -> str:
    path = PurePosixPath(change.path)
    try:
        with open_directory(root, path.parent) as directory:
            there = read_entry(directory, path.name)
    except FileNotFoundError:
        there = None
    except OSError:
        return "the directory it is in was changed by somebody else meanwhile"
    if there == change.after:
        return ""
    is_same = there == change.before
    return "" if is_same else "was changed by somebody else meanwhile, and is left as it is"


def _warning(change: Change) -> str:
    if change.after is None or change.after.kind == "directory":
        return ""
    name = PurePosixPath(change.path).name
    names = (change.path, name)
    if any(fnmatch.fnmatchcase(text, pattern) for text in names for pattern in RUN_BY_OTHERS):
        return "is run by other programs: look at it first"
    old_mode = change.before.mode if change.before else 0
    if change.after.kind == "file" and change.after.mode & ~old_mode & 0o111:
        return "can be executed: look at it first"
    return ""


def _carried_out(change: Change, copy: Path, root: Path) -> str:
    """Carry a change out; return what kept it from being done, or nothing."""
    path = PurePosixPath(change.path)
    try:
        with open_directory(root, path.parent) as directory:
            if change.before is not None and _must_go(change):
                _remove(directory, path.name, change.before)
            if change.after is not None:
                _put(directory, path, change.after, copy)
    except OSError as error:
        return f"could not be written: {error.strerror or error}"
    return ""


def _must_go(change: Change) -> bool:
    """Tell whether what was there has to be removed, and is not replaced or changed."""
    return change.after is None or (
        change.before is not None and change.before.kind != change.after.kind
    )


def _remove(directory: int, name: str, entry: Entry) -> None:
    if entry.kind == "directory":
        os.rmdir(name, dir_fd=directory)
    else:
        os.unlink(name, dir_fd=directory)


def _put(directory: int, path: PurePosixPath, entry: Entry, copy: Path) -> None:
    if entry.kind == "directory":
        with suppress(FileExistsError):
            os.mkdir(path.name, entry.mode, dir_fd=directory)
        return
    with _temporary(directory) as name:
        if entry.kind == "link":
            os.symlink(entry.content, name, dir_fd=directory)
        else:
            with open_regular(copy, str(path)) as source:
                _write(directory, name, source, entry.mode)
        _keep_owner(directory, name)
        os.replace(name, path.name, src_dir_fd=directory, dst_dir_fd=directory)


@contextmanager
def _temporary(directory: int) -> Iterator[str]:
    temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        yield temporary
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise


def _write(directory: int, name: str, source: int, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=directory)
    with os.fdopen(descriptor, "wb") as target, os.fdopen(source, "rb", closefd=False) as file:
        while data := file.read(1024 * 1024):
            target.write(data)
        target.flush()
        os.fchmod(descriptor, mode)


def _keep_owner(directory: int, name: str) -> None:
    """Give root's new file to the owner of the directory it is in."""
    if os.getuid() == 0:
        owner = os.fstat(directory)
        os.chown(name, owner.st_uid, owner.st_gid, dir_fd=directory, follow_symlinks=False)
