"""A real tool server without a container, and coordination's side of its socket. Runs on: host."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from runner.contract.tools import (
    FROM_SERVER,
    Call,
    Cancel,
    CommandSettings,
    Hello,
    Output,
    Result,
    ToolServerSpec,
    frame,
)

DEADLINE_SECONDS = 60.0
"""Within which each frame must come; the machines that run the tests are busy."""


class Done(NamedTuple):
    """A call that has ended."""

    result: Result
    output: tuple[str, ...]
    """What it printed meanwhile, a frame each."""

    @property
    def text(self) -> str:
        return self.result.text


class ToolServer:
    """What a test says to a tool server, and what it heard; frames are read while a test waits."""

    def __init__(self, connection: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._number = 0
        self._results: dict[int, Result] = {}
        self._outputs: dict[int, list[str]] = {}
        self.hello = Hello.model_validate_json(self._line())

    def begin(self, tool: str, **arguments: Any) -> int:
        """Make a call and return its number."""
        self._number += 1
        self._outputs[self._number] = []
        self._send(Call(id=self._number, tool=tool, arguments=arguments))
        return self._number

    def cancel(self, number: int) -> None:
        """Say that nobody waits for a call any more."""
        self._send(Cancel(id=number))

    def done(self, number: int) -> Done:
        """Wait for the end of a call."""
        self._read_until(lambda: number in self._results)
        return Done(self._results.pop(number), tuple(self._outputs.pop(number)))

    def call(self, tool: str, **arguments: Any) -> Done:
        """Make a call and wait for its end."""
        return self.done(self.begin(tool, **arguments))

    def hear(self, number: int, expected: str) -> str:
        """Wait until a call that runs has printed `expected`; return all that it printed."""
        self._read_until(lambda: expected in self._heard(number) or number in self._results)
        assert expected in self._heard(number), self._results
        return self._heard(number)

    def close(self) -> None:
        """Close the connection, as coordination does at the end of a run."""
        self._connection.shutdown(socket.SHUT_RDWR)

    def _heard(self, number: int) -> str:
        return "".join(self._outputs[number])

    def _send(self, message: Call | Cancel) -> None:
        self._connection.sendall(frame(message))

    def _read_until(self, is_there: Callable[[], bool]) -> None:
        while not is_there():
            message = self._next()
            match message:
                case Output():
                    self._outputs.setdefault(message.id, []).append(message.text)
                case Result():
                    self._results[message.id] = message

    def _next(self) -> Output | Result:
        return FROM_SERVER.validate_json(self._line())

    def _line(self) -> bytes:
        line = self._lines.readline()
        assert line, f"the tool server has gone: exit code {self.process.wait(DEADLINE_SECONDS)}"
        return line


@contextlib.contextmanager
def tool_server(
    workspace: Path, environment: dict[str, str] | None = None, **spec: Any
) -> Iterator[ToolServer]:
    """Run `python -m runner.tools` for `workspace`; `spec` holds fields of its `ToolServerSpec`.

    Commands are allowed unless `spec` says otherwise.
    """
    spec = {"agent_id": "agent_a", "answers": "/nonexistent", "commands": CommandSettings()} | spec
    with tempfile.TemporaryDirectory(prefix="tools-") as directory, contextlib.ExitStack() as stack:
        spec_file, socket_path = Path(directory, "tools.json"), Path(directory, "tools.sock")
        served = ToolServerSpec(workspace=str(workspace), **spec)
        spec_file.write_text(served.model_dump_json())
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(socket_path))
        listener.listen()
        listener.settimeout(DEADLINE_SECONDS)
        process = stack.enter_context(started(workspace, spec_file, socket_path, environment))
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(DEADLINE_SECONDS)
            server = ToolServer(connection, process)
            with server._lines:
                yield server


@contextlib.contextmanager
def started(
    workspace: Path, spec_file: Path, socket_path: Path, environment: dict[str, str] | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a tool server that connects to `socket_path`, until its connection is closed."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-B", "-u", "-m", "runner.tools"],
        cwd=workspace,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "RUNNER_TOOLS_SPEC": str(spec_file),
            "RUNNER_TOOLS_SOCKET": str(socket_path),
            **(environment or {}),
        },
    )
    try:
        yield process
    finally:  # the connection is closed by now: it ends by itself
        try:
            process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
