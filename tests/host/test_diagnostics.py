"""How a run ended, decided from what is known of a dead container."""

import pytest

from runner.contract.outcome import ExitCode, RunOutcome
from runner.host.diagnostics import Death, EndedBy, explain

SUCCESS = RunOutcome.of(ExitCode.SUCCESS, "agent_a won")
FAILED = RunOutcome.of(ExitCode.EXECUTION, "no agent could finish")
STOPPED = RunOutcome.of(ExitCode.INTERRUPTED, "interrupted")


@pytest.mark.parametrize(
    ("death", "code", "reason"),
    [
        (
            Death(EndedBy.ITSELF, exit_code=0, claimed=SUCCESS, answer_on_disk=True),
            ExitCode.SUCCESS,
            "agent_a won",
        ),
        (
            Death(EndedBy.ITSELF, exit_code=0, claimed=SUCCESS, answer_on_disk=False),
            ExitCode.EXECUTION,
            "without a final answer",
        ),
        (
            Death(EndedBy.ITSELF, exit_code=2, claimed=FAILED),
            ExitCode.EXECUTION,
            "no agent could finish",
        ),
        (
            Death(EndedBy.ITSELF, exit_code=2, claimed=SUCCESS, answer_on_disk=False),
            ExitCode.EXECUTION,
            "exit code 2",
        ),
        (
            Death(EndedBy.ITSELF, exit_code=137, claimed=SUCCESS, answer_on_disk=True),
            ExitCode.SUCCESS,
            "agent_a won",
        ),
        (
            Death(EndedBy.ITSELF, exit_code=0),
            ExitCode.EXECUTION,
            "exit code 0",
        ),
        (
            Death(EndedBy.ITSELF, exit_code=137, oom_killed=True, memory_limit="64m"),
            ExitCode.EXECUTION,
            "out of memory, limit 64m",
        ),
        (Death(EndedBy.ITSELF, exit_code=137), ExitCode.EXECUTION, "SIGKILL"),
        (Death(EndedBy.ITSELF, exit_code=143), ExitCode.EXECUTION, "SIGTERM"),
        (
            Death(EndedBy.ITSELF, exit_code=4, claimed=STOPPED),
            ExitCode.INTERRUPTED,
            "from outside",
        ),
        (
            Death(EndedBy.ITSELF, exit_code=1, log_tail="one\n\x1b[31mdisk full\n\n"),
            ExitCode.EXECUTION,
            "exit code 1: disk full",
        ),
        (Death(EndedBy.ITSELF, exists=False), ExitCode.EXECUTION, "removed from outside"),
        (Death(EndedBy.ITSELF, engine_gone=True), ExitCode.EXECUTION, "engine is gone"),
        (
            Death(EndedBy.ITSELF, engine_gone=True, claimed=SUCCESS, answer_on_disk=True),
            ExitCode.SUCCESS,
            "agent_a won",
        ),
        (
            Death(EndedBy.ITSELF, exit_code=127, engine_error="no such file"),
            ExitCode.EXECUTION,
            "no such file",
        ),
        (
            Death(
                EndedBy.ITSELF,
                exit_code=2,
                claimed=RunOutcome(exit_code=ExitCode.EXECUTION, name="x", reason="a\x1b[2J\nb"),
            ),
            ExitCode.EXECUTION,
            "a b",
        ),
        (Death(EndedBy.INTERRUPT, exit_code=137), ExitCode.INTERRUPTED, "interrupted"),
        (
            Death(EndedBy.DEADLINE, exit_code=137, time_limit_seconds=5),
            ExitCode.TIMEOUT,
            "limit of 5 s",
        ),
    ],
)
def test_the_outcome_is_what_the_evidence_says(death: Death, code: ExitCode, reason: str) -> None:
    """Exit code and reason follow from the evidence, and a claim alone is never enough."""
    outcome = explain(death)

    assert (code, code.name.lower()) == (outcome.exit_code, outcome.name)
    assert reason in outcome.reason
