"""Bind a Unix socket that a container reaches through a mounted directory. Runs on: host."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.contract.files import open_directory


@contextmanager
def bound(directory: Path, name: str, owner: int | None = None) -> Iterator[socket.socket]:
    """Yield the socket `name`, bound in `directory` and reachable for its owner alone.

    The directory exists, is the host's own, and may be longer than a socket's address can be;
    `owner` is the uid that the container runs with, where it is not the caller's.
    """
    with open_directory(directory) as opened:
        _unlink(opened, name)  # of a process that was killed
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            os.fchmod(listener.fileno(), 0o600)  # Linux gives the file the socket's mode
            # An address holds 107 bytes; the directory's path may be longer.
            listener.bind(f"/proc/self/fd/{opened}/{name}")
            try:
                if owner is not None:
                    os.chown(name, owner, -1, dir_fd=opened, follow_symlinks=False)
                listener.setblocking(False)
                yield listener
            finally:
                _unlink(opened, name)


def _unlink(directory: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
