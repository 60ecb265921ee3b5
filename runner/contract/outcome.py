"""How a run ended: one of five exit codes and a reason. Runs on: both sides."""

import enum
from typing import Self

from pydantic import BaseModel, ConfigDict


class ExitCode(enum.IntEnum):
    """The process codes of a run; scripts rely on the numbers (automation guide, "Exit codes")."""

    SUCCESS = 0
    CONFIGURATION = 1
    EXECUTION = 2
    TIMEOUT = 3
    INTERRUPTED = 4


class RunOutcome(BaseModel):
    """Exit code with its name and a true, one-line reason."""

    model_config = ConfigDict(frozen=True)

    exit_code: ExitCode
    name: str
    reason: str

    @classmethod
    def of(cls, exit_code: ExitCode, reason: str) -> Self:
        """Return the outcome for `exit_code`, named after it in lower case."""
        return cls(exit_code=exit_code, name=exit_code.name.lower(), reason=reason)
