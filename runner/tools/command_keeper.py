"""Keep one command's processes together, and end them all. Runs on: the agent container.

A program of its own between the tool server and a command. As its "child subreaper" it inherits
what the command leaves behind, in whatever group or session, so that nothing outlives it. Its
standard input is a socket to the tool server: an order comes in as a line of JSON, and the end of
the stream, be it because the tool server has died, says to end the command. What becomes of the
command goes out as lines of JSON. Its standard output and error are the command's.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

_CONTROL = 0
_PR_SET_CHILD_SUBREAPER = 36
_LINGER_SECONDS = 0.5
"""What a command leaves behind may end by itself that long."""
_GRACE_SECONDS = 1.0
"""Between SIGTERM and SIGKILL."""
_KILL_SECONDS = 5.0
"""How long the kernel may take for what is killed."""
_COMMANDS_OOM_SCORE = b"500"
"""Out of memory, the kernel takes a command rather than the tool server."""
_DEFAULT_SIGNALS = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGPIPE,
    signal.SIGTERM,
    signal.SIGCHLD,
    signal.SIGXFSZ,
)


def main() -> None:
    """Run one command to its end, or to the end of the control stream."""
    order = json.loads(_line())
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        _say(error=f"the command cannot be kept: {os.strerror(ctypes.get_errno())}")
        return
    woken = _woken_by_children()
    try:
        os.chdir(order["directory"])
        shell = _start(order["command"], order["environment"])
    except OSError as error:
        _say(error=error.strerror, errno=error.errno)
        return
    except ValueError as error:  # a NUL or a lone surrogate
        _say(error=str(error))
        return
    _say(pid=shell)
    _keep(Children(shell, woken))


def _line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(_CONTROL, 65536)
        if not data:
            sys.exit(0)
        line += data
    return line


def _say(**what: Any) -> None:
    with suppress(OSError):  # the tool server is gone: nobody wants to know
        os.write(_CONTROL, json.dumps(what).encode() + b"\n")


def _woken_by_children() -> int:
    """Return a descriptor that is readable once a child has ended."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reader


def _start(command: str, environment: dict[str, str]) -> int:
    # Inherited by the command; who may not set it (another container runtime) goes without.
    with suppress(OSError):
        _set_oom_score(_COMMANDS_OOM_SCORE)
    try:
        return os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", command],
            environment,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULT_SIGNALS,
        )
    finally:
        with suppress(OSError):
            _set_oom_score(b"0")


def _set_oom_score(score: bytes) -> None:
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    try:
        os.write(descriptor, score)
    finally:
        os.close(descriptor)


class Children:
    """The shell, and what has been inherited from it."""

    def __init__(self, shell: int, woken: int) -> None:
        self._shell = shell
        self._woken = woken
        self.exit_code: int | None = None
        """Of the shell, once it has ended; negative for a signal."""
        self.are_left = True

    def wait_for_shell(self) -> None:
        """Wait until the shell has ended, or until we are told to end it."""
        while self.exit_code is None:
            ready, _, _ = select.select([self._woken, _CONTROL], [], [])
            self._reap()
            if _CONTROL in ready:
                return

    def wait_for_all(self, seconds: float) -> None:
        """Wait until none is left or the time is over."""
        give_up = time.monotonic() + seconds
        while self.are_left and (left := give_up - time.monotonic()) > 0:
            select.select([self._woken], [], [], left)
            self._reap()

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.are_left = False
                return
            if pid == 0:
                return
            if pid == self._shell:
                self.exit_code = os.waitstatus_to_exitcode(status)


def _keep(children: Children) -> None:
    children.wait_for_shell()
    left = 0
    if children.exit_code is not None:  # it has ended by itself
        children.wait_for_all(_LINGER_SECONDS)
        left = sum(1 for _ in _descendants())
    _end(children)
    _say(exit_code=children.exit_code, left=left)


def _end(children: Children) -> None:
    """End all that is left: gently, then for certain."""
    _signal_all(signal.SIGTERM)
    children.wait_for_all(_GRACE_SECONDS)
    give_up = time.monotonic() + _KILL_SECONDS
    while children.are_left and time.monotonic() < give_up:
        _kill_all()
        children.wait_for_all(0.1)


def _kill_all() -> None:
    """Kill all descendants; stopped first, so that none makes another meanwhile."""
    stopped: set[int] = set()
    while fresh := set(_descendants()) - stopped:
        for pid in fresh:
            _signal(pid, signal.SIGSTOP)
        stopped |= fresh
    for pid in stopped:
        _signal(pid, signal.SIGKILL)


def _signal_all(number: int) -> None:
    for pid in list(_descendants()):
        _signal(pid, number)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _descendants() -> Iterator[int]:
    """Yield the processes below this one, by /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (parent := _parent(name)) is not None:
            children.setdefault(parent, []).append(int(name))
    waiting = [os.getpid()]
    while waiting:
        found = children.pop(waiting.pop(), [])
        yield from found
        waiting += found


def _parent(pid: str) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return None  # it has ended
    return int(stat.rpartition(b")")[2].split()[1])  # its name may hold anything


if __name__ == "__main__":
    main()
