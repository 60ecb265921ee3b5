"""A further program in a running container. Runs on: host."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from socket import socket
from typing import Any

Asking = Callable[[str], AbstractContextManager[None]]
"""Turns what the engine's client raises into our errors."""


class Execution:
    """One program that was prepared by `Engine.execute`; raises as the engine's methods do."""

    def __init__(self, client: Any, execution_id: str, asking: Asking) -> None:
        self._client = client
        self._id = execution_id
        self._asking = asking

    def output(self) -> Iterator[tuple[bytes, bytes]]:
        """Start it without a terminal; yield what it writes to stdout and stderr as it comes."""
        with self._asking("run a program in a container"):
            pieces = self._client.exec_start(self._id, stream=True, demux=True)
            for out, err in pieces:
                yield out or b"", err or b""

    def terminal(self) -> socket:
        """Start it on a terminal, and return the connection to that."""
        with self._asking("open a terminal in a container"):
            opened = self._client.exec_start(self._id, tty=True, socket=True)
        # The client wraps the socket in a file that can only be read from.
        connection: socket = getattr(opened, "_sock", opened)
        return connection

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size."""
        with self._asking("resize a terminal in a container"):
            self._client.exec_resize(self._id, height=rows, width=columns)

    def exit_code(self) -> int:
        """Return the exit code of a program that has ended."""
        with self._asking("look at a program in a container"):
            return int(self._client.exec_inspect(self._id)["ExitCode"] or 0)
