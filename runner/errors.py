"""Errors of the runner, each with the exit code it ends a run with. Runs on: both sides.

RunnerError                  2   anything below
├── ConfigurationError       1   flags, files, keys, values, credentials, paths
│   └── EngineError          1   no container engine, or one that cannot do what is needed
├── ExecutionError           2   the run could not be carried out
│   └── DiskFullError        2   no room for the log
├── RunTimeoutError          3   the orchestrator's time is over
└── InterruptedRunError      4   Ctrl-C, SIGTERM, stop
"""

from collections.abc import Sequence
from typing import ClassVar

from runner.contract.outcome import ExitCode


class RunnerError(Exception):
    """Base of all errors whose message is meant for people: what happened, where, what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.EXECUTION


class ConfigurationError(RunnerError):
    """What the user gave cannot be run. Each problem is one line `file:line: key: what: remedy`."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class EngineError(ConfigurationError):
    """There is no usable container engine; the message names the remedy."""


class ExecutionError(RunnerError):
    """The run started and could not be finished."""


class DiskFullError(ExecutionError):
    """The disk of the log directory is full."""


class RunTimeoutError(RunnerError):
    """The orchestrator's time is over."""

    exit_code = ExitCode.TIMEOUT


class InterruptedRunError(RunnerError):
    """A signal or `massgen-runner stop` ended the run."""

    exit_code = ExitCode.INTERRUPTED
