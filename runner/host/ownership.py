"""Lend a directory to a container's user, and take it back. Runs on: host.

Only root needs this: a root caller's containers do not run as root, and what they wrote is handed
back to the caller at the end. Links are never followed.
"""

import os
from contextlib import suppress
from pathlib import Path


def give(root: Path, uid: int, gid: int) -> None:
    """Make uid and gid own `root` and everything below it; files that vanish are passed over."""
    os.chown(root, uid, gid, follow_symlinks=False)
    for _, directories, files, descriptor in os.fwalk(root, follow_symlinks=False):
        for name in (*directories, *files):
            with suppress(FileNotFoundError):
                os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
