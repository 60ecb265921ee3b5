"""Look into an agent's container while its run goes on. Runs on: host."""

import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from socket import socket
from typing import Any

from runner.contract.run_id import is_agent_id
from runner.contract.text import one_line
from runner.errors import ConfigurationError, RunnerError
from runner.host.container_spec import LABEL_AGENT_ID, LABEL_RUN_ID
from runner.host.engine import Engine, connect
from runner.host.engine_exec import Execution
from runner.host.run_store import RunDirectory

_PIECE_BYTES = 64 * 1024


def open_shell(
    run: RunDirectory, agent_id: str, command: Sequence[str], environ: Mapping[str, str]
) -> int:
    """Run a command in an agent's container and return its exit code.

    On a terminal it gets one too. Raises ConfigurationError where there is no such container.
    """
    with connect(environ) as engine:
        container = _container(engine, run, agent_id)
        has_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        execution = engine.execute(container, command, terminal=has_terminal)
        if has_terminal:
            _attach(execution)
        else:
            _pass_on(execution)
        return execution.exit_code()


def _container(engine: Engine, run: RunDirectory, agent_id: str) -> str:
    record = run.read_record()
    agents = record.agents if record else ()
    if not is_agent_id(agent_id) or agent_id not in agents:
        raise ConfigurationError(
            f"{one_line(agent_id, 80)!r} is no agent of {run.run_id}: it has {', '.join(agents)}"
        )
    labels = {LABEL_RUN_ID: run.run_id, LABEL_AGENT_ID: agent_id}
    running = [item for item in engine.list(labels) if item.state == "running"]
    if not running:
        raise ConfigurationError(
            f"{agent_id} has no running container in {run.run_id}: it gets one with its first tool "
            "call, and loses it when the run ends"
        )
    return running[0].id


def _pass_on(execution: Execution) -> None:
    for out, err in execution.output():
        sys.stdout.buffer.write(out)
        sys.stdout.buffer.flush()
        sys.stderr.buffer.write(err)
        sys.stderr.buffer.flush()


def _attach(execution: Execution) -> None:
    """Join this terminal to the program's, until the program ends."""
    with execution.terminal() as connection, _raw(sys.stdin.fileno()), _resized(execution):
        connection.settimeout(None)
        _exchange(connection)


def _exchange(connection: socket) -> None:
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    sources: list[Any] = [connection, keyboard]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if keyboard in ready:
            typed = os.read(keyboard, _PIECE_BYTES)
            if typed:
                connection.sendall(typed)
            else:
                sources.remove(keyboard)
        if connection in ready:
            shown = connection.recv(_PIECE_BYTES)
            if not shown:
                return
            while shown:
                shown = shown[os.write(screen, shown) :]


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Pass every key on as it is, Ctrl-C too, while in the block."""
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed ahead is not thrown away
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _resized(execution: Execution) -> Iterator[None]:
    def resize(*_: object) -> None:
        size = shutil.get_terminal_size()
        with suppress(RunnerError):  # the program may have ended
            execution.resize(size.lines, size.columns)

    before = signal.signal(signal.SIGWINCH, resize)
    resize()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
