"""Commands, timed from outside. Runs on: host."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

MAX_ERROR_CHARACTERS = 2_000


class Line(NamedTuple):
    """A line of standard output; `after` is seconds since the command was started."""

    after: float
    text: str


class Finished(NamedTuple):
    """A command that has ended."""

    began: float
    """Epoch seconds just before the process was made."""
    wall_seconds: float
    cpu_seconds: float
    """User and system time of the process and of all its children that it waited for."""
    exit_code: int
    lines: tuple[Line, ...]
    errors: str

    @property
    def log_dir(self) -> Path:
        """The log directory that the first lines name."""
        return Path(self.value("LOG_DIR"))

    def value(self, key: str) -> str:
        """Return what stands behind `KEY: ` on standard output."""
        return _value(self.lines, key)


class MeasurementError(Exception):
    """A command did not do what is to be measured."""


class Command:
    """A command at work; `with` ends it politely if it has not ended."""

    def __init__(self, command: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> None:
        self._errors = cwd / "stderr.txt"
        self.began = time.time()
        self._monotonic = time.monotonic()
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.pid = self._process.pid
        self._lines: list[Line] = []

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            os.kill(self.pid, signal.SIGTERM)  # terminate() would take the exit code from wait4
            self.finish()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def read_line(self) -> Line | None:
        """Return the next line of stdout as soon as it is there, None at its end."""
        if self._process.stdout is None:
            raise AssertionError
        text = self._process.stdout.readline()
        if not text:
            return None
        line = Line(time.monotonic() - self._monotonic, text.rstrip("\n"))
        self._lines.append(line)
        return line

    def value(self, key: str) -> str:
        """Return what stands behind `KEY: ` in the lines read so far."""
        return _value(self._lines, key)

    def finish(self) -> Finished:
        """Read the rest and wait for the end."""
        while self.read_line():
            pass
        _, status, usage = os.wait4(self.pid, 0)
        wall = time.monotonic() - self._monotonic
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return Finished(
            began=self.began,
            wall_seconds=wall,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            exit_code=self._process.returncode,
            lines=tuple(self._lines),
            errors=self._errors.read_text(errors="replace")[-MAX_ERROR_CHARACTERS:],
        )


def finished(
    command: Sequence[str], cwd: Path, environ: Mapping[str, str], exit_code: int = 0
) -> Finished:
    """Run a command to its end. Raises MeasurementError for another exit code."""
    with Command(command, cwd, environ) as running:
        done = running.finish()
    if done.exit_code != exit_code:
        raise MeasurementError(f"{command[0]} exited {done.exit_code}: {done.errors}")
    return done


def _value(lines: Sequence[Line], key: str) -> str:
    for line in lines:
        if line.text.startswith(f"{key}: "):
            return line.text.partition(": ")[2]
    raise MeasurementError(f"no {key} on stdout: {[line.text for line in lines]}")
