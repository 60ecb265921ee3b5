"""Why did a run end? A pure decision over what the engine, the log and we ourselves say.

Runs on: host. The container's own word counts only where everything else agrees with it.
"""

import enum
from typing import NamedTuple

from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.text import one_line

_SIGNALS = {129: "SIGHUP", 130: "SIGINT", 134: "SIGABRT", 137: "SIGKILL", 139: "SIGSEGV"}
_SIGTERM_CODE = 143
_LOG_LINE_CHARS = 300
_REASON_CHARS = 2000
INTERRUPTED = "interrupted by Ctrl-C, a signal or massgen-runner stop"


class EndedBy(enum.Enum):
    """Who asked for the end of the container, if anybody."""

    ITSELF = "itself"
    INTERRUPT = "interrupt"
    DEADLINE = "deadline"


class Death(NamedTuple):
    """What is known once a run container is dead, or out of reach."""

    ended_by: EndedBy
    engine_gone: bool = False
    """The engine did not come back in time; the fields below are guesses then."""
    exists: bool = True
    exit_code: int | None = None
    oom_killed: bool = False
    engine_error: str = ""
    log_tail: str = ""
    claimed: RunOutcome | None = None
    """The outcome that the container wrote into status.json."""
    answer_on_disk: bool = False
    memory_limit: str = ""
    time_limit_seconds: float = 0.0


def explain(death: Death) -> RunOutcome:
    """Return the run's true outcome."""
    if death.claimed is not None and death.claimed.exit_code == death.exit_code:
        return _made_safe(_checked_claim(death, death.claimed))
    if _is_proven_success(death):
        return RunOutcome.of(ExitCode.SUCCESS, one_line(_claimed_reason(death), _REASON_CHARS))
    if death.ended_by is EndedBy.INTERRUPT:
        return RunOutcome.of(ExitCode.INTERRUPTED, INTERRUPTED)
    if death.ended_by is EndedBy.DEADLINE:
        return RunOutcome.of(
            ExitCode.TIMEOUT,
            f"the time limit of {death.time_limit_seconds:g} s is over, and the run container "
            "did not end by itself",
        )
    return RunOutcome.of(ExitCode.EXECUTION, _cause_of_death(death))


def _checked_claim(death: Death, claimed: RunOutcome) -> RunOutcome:
    if claimed.exit_code is ExitCode.SUCCESS and not death.answer_on_disk:
        return RunOutcome.of(
            ExitCode.EXECUTION, "the run container reported success without a final answer on disk"
        )
    if claimed.exit_code is ExitCode.INTERRUPTED and death.ended_by is EndedBy.ITSELF:
        return RunOutcome.of(ExitCode.INTERRUPTED, "the run container was stopped from outside")
    if claimed.exit_code is ExitCode.INTERRUPTED:
        return RunOutcome.of(ExitCode.INTERRUPTED, INTERRUPTED)
    return claimed


def _made_safe(claimed: RunOutcome) -> RunOutcome:
    """Return a container's own words as one line under the name that belongs to its code."""
    return RunOutcome.of(claimed.exit_code, one_line(claimed.reason, _REASON_CHARS))


def _is_proven_success(death: Death) -> bool:
    """Tell whether the run was done before something else took the container away."""
    claimed = death.claimed is not None and death.claimed.exit_code is ExitCode.SUCCESS
    return claimed and death.answer_on_disk


def _claimed_reason(death: Death) -> str:
    return death.claimed.reason if death.claimed else ""


def _cause_of_death(death: Death) -> str:
    if death.engine_gone:
        return "the container engine is gone and did not come back"
    if not death.exists:
        return "the run container was removed from outside"
    if death.oom_killed:
        return (
            f"the run container was killed: out of memory, limit {death.memory_limit}: "
            "raise runner.memory"
        )
    if death.engine_error:
        return f"the run container could not run: {one_line(death.engine_error, _LOG_LINE_CHARS)}"
    return _by_exit_code(death)


def _by_exit_code(death: Death) -> str:
    code = death.exit_code
    if code is None:
        return "the run container ended in an unknown way"
    last = last_line(death.log_tail)
    said = f": {last}" if last else ""
    if code in _SIGNALS or code == _SIGTERM_CODE:
        name = _SIGNALS.get(code, "SIGTERM")
        return f"the run container was killed from outside ({name}, exit code {code})"
    return f"the run container ended with exit code {code}{said}"


def last_line(log: str) -> str:
    """Return the last line of a container's log that says something, made safe."""
    lines = [one_line(line, _LOG_LINE_CHARS) for line in log.splitlines()]
    return next((line for line in reversed(lines) if line), "")
