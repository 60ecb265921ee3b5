"""One run from its spec to its outcome. Runs on: the run container."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.spec import ANSWERS_DIR, RunSpec
from runner.contract.text import one_line
from runner.contract.tools import AGENTS_DIR
from runner.coordination.acting.toolbox import Toolbox
from runner.coordination.disk import NO_ROOM
from runner.coordination.models.client import ModelClient, SupervisorGoneError
from runner.coordination.orchestrator import Orchestrator, cancel
from runner.coordination.recorder import Recorder
from runner.coordination.state import new_run, stop
from runner.coordination.workspaces import Workspaces
from runner.errors import RunnerError

_log = logging.getLogger(__name__)


async def carry_out(
    spec: RunSpec,
    socket_path: str,
    interrupted: asyncio.Event,
    agents_dir: str = AGENTS_DIR,
    answers_dir: str = ANSWERS_DIR,
) -> RunOutcome:
    """Carry the run out and return how it ended, everything being written.

    `agents_dir` has a directory for each agent that acts, for its tool server's socket;
    `answers_dir` gets the workspaces of the current answers, for the agents to read.
    Raises DiskFullError or ExecutionError only if the log cannot be written to the end.
    """
    state = new_run([agent.id for agent in spec.agents], spec.coordination)
    with Recorder(spec, state) as recorder:
        try:
            async with (
                ModelClient(socket_path) as client,
                _toolboxes(spec, client, recorder, agents_dir) as toolboxes,
                _workspaces(spec, client, answers_dir) as workspaces,
            ):
                orchestrator = Orchestrator(spec, client, recorder, workspaces, toolboxes)
                outcome = await _attended(orchestrator, recorder, interrupted)
        except Exception as error:
            outcome = outcome_of(error)
            _log.exception("the run ends because of an error")
        if recorder.state.ending is None:
            recorder.record(stop(recorder.state))
        recorder.close(outcome)
    return outcome


async def _attended(
    orchestrator: Orchestrator, recorder: Recorder, interrupted: asyncio.Event
) -> RunOutcome:
    """Run until the end, an interruption, or until the log cannot be written any more."""
    run = asyncio.create_task(orchestrator.run())
    keeping = asyncio.create_task(recorder.keep_current())
    stopping = asyncio.create_task(interrupted.wait())
    tasks = (run, keeping, stopping)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if run.done():
            return run.result()
        if keeping.done():
            keeping.result()
        return RunOutcome.of(ExitCode.INTERRUPTED, "the run was interrupted")
    finally:
        await cancel(tasks)


def _workspaces(spec: RunSpec, client: ModelClient, answers_dir: str) -> Workspaces:
    acting = {agent.id: agent.tools for agent in spec.agents if agent.tools is not None}
    return Workspaces(acting, client, Path(spec.log_dir), Path(answers_dir))


@asynccontextmanager
async def _toolboxes(
    spec: RunSpec, client: ModelClient, recorder: Recorder, agents_dir: str
) -> AsyncIterator[Mapping[str, Toolbox]]:
    """Yield the tools of the agents that have some."""
    async with AsyncExitStack() as stack:
        yield {
            agent.id: await stack.enter_async_context(
                Toolbox(
                    agent.id, agent.tools, client, partial(recorder.watch, agent.id), agents_dir
                )
            )
            for agent in spec.agents
            if agent.tools is not None
        }


def outcome_of(error: Exception) -> RunOutcome:
    """Return the outcome that an error means; what is not foreseen is an internal error."""
    if isinstance(error, RunnerError):
        return RunOutcome.of(error.exit_code, one_line(str(error), 1000))
    if isinstance(error, SupervisorGoneError):
        return RunOutcome.of(ExitCode.EXECUTION, str(error))
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return RunOutcome.of(ExitCode.EXECUTION, one_line(f"disk full: {error}"))
    said = one_line(f"internal error: {type(error).__name__}: {error}", 1000)
    return RunOutcome.of(ExitCode.EXECUTION, said)
