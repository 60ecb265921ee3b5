"""Runs agents side by side and carries their decisions out. Runs on: the run container.

One task per turn; every change of state happens in the one loop here, in the order in which turns
end. An agent is restarted by cancelling its turn.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.spec import RunSpec
from runner.contract.status import AgentStatus
from runner.coordination import state as rules
from runner.coordination.acting.toolbox import Toolbox
from runner.coordination.agent import Answered, Voted, present, take_turn
from runner.coordination.models.client import ModelClient
from runner.coordination.models.stream import Listener
from runner.coordination.recorder import Recorder
from runner.coordination.state import RunState, Transition
from runner.coordination.talk import AgentFailedError, Seat
from runner.coordination.workspaces import Staged, Workspaces

_LAST_USAGE_SECONDS = 0.3
"""How long the end of a run waits for the host's last count."""

NO_TOOLS: Mapping[str, Toolbox] = MappingProxyType({})


class Ended(NamedTuple):
    """A turn's decision, and what its agent had in its workspace then."""

    decision: Answered | Voted
    workspace: Staged | None


Turn = asyncio.Task[Ended]


class Orchestrator:
    """Carries one run out; the recorder holds its state."""

    def __init__(
        self,
        spec: RunSpec,
        client: ModelClient,
        recorder: Recorder,
        workspaces: Workspaces,
        toolboxes: Mapping[str, Toolbox] = NO_TOOLS,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spec = spec
        self._client = client
        self._recorder = recorder
        self._workspaces = workspaces
        self._toolboxes = toolboxes
        self._clock = clock
        self._turns: dict[str, Turn] = {}
        self._ended: list[tuple[str, Turn]] = []
        """Turns in the order in which they ended; of agents restarted meanwhile too."""
        self._usage_task: asyncio.Task[None] | None = None

    @property
    def _state(self) -> RunState:
        return self._recorder.state

    async def run(self) -> RunOutcome:
        """Return how the run ended. Raises SupervisorGoneError, DiskFullError, ExecutionError."""
        limit = self._spec.coordination.orchestrator_timeout_seconds
        remaining = self._spec.deadline - self._clock()
        if remaining <= 0:
            return self._time_out(limit)
        timeout = asyncio.timeout(remaining)
        try:
            async with timeout:
                outcome = await self._coordinate_and_present()
        except TimeoutError:
            if not timeout.expired():
                raise
            outcome = self._time_out(limit)
        finally:
            await self._end_tasks()
        await self._count_usage(_LAST_USAGE_SECONDS)
        return outcome

    async def _coordinate_and_present(self) -> RunOutcome:
        if self._spec.coordination.skip_coordination_rounds and len(self._spec.agents) > 1:
            return await self._present_first_living()
        await self._coordinate()
        if not self._state.living:
            return self._nobody_left()
        return await self._present_winner()

    async def _coordinate(self) -> None:
        """Let agents take turns until every living one has voted."""
        while not rules.has_settled(self._state):
            for agent_id in rules.ready_agents(self._state):
                self._start_turn(agent_id)
            await asyncio.wait(self._turns.values(), return_when=asyncio.FIRST_COMPLETED)
            ended, self._ended = self._ended, []
            for agent_id, turn in ended:
                # An answer carried out just before may have restarted this agent.
                if self._turns.get(agent_id) is turn:
                    await self._end_turn(agent_id, self._turns.pop(agent_id))
            self._refresh_usage()

    def _start_turn(self, agent_id: str) -> None:
        self._apply(rules.start_turn(self._state, agent_id, self._clock()))
        turn = asyncio.create_task(self._turn(agent_id), name=f"turn of {agent_id}")
        turn.add_done_callback(lambda _: self._ended.append((agent_id, turn)))
        self._turns[agent_id] = turn

    async def _turn(self, agent_id: str) -> Ended:
        """Return a decision with the workspace as it was then; other agents work on meanwhile."""
        decision = await take_turn(self._seat(agent_id), self._state)
        is_answer = isinstance(decision, Answered)
        return Ended(decision, await self._workspaces.stage(agent_id, is_answer=is_answer))

    async def _end_turn(self, agent_id: str, turn: Turn) -> None:
        now = self._clock()
        try:
            decision, workspace = turn.result()
        except AgentFailedError as error:
            self._apply(rules.fail_agent(self._state, agent_id, error.type, error.message, now))
            return
        match decision:
            case Voted(target, reason):
                self._apply(rules.cast_vote(self._state, agent_id, target, reason, now), workspace)
            case Answered(content):
                self._apply(rules.give_answer(self._state, agent_id, content, now), workspace)
                self._workspaces.publish(agent_id, self._state.agents[agent_id].name)
                await self._cancel_restarted()

    async def _cancel_restarted(self) -> None:
        agents = self._state.agents
        restarted = [name for name in self._turns if agents[name].status is AgentStatus.RESTARTING]
        await cancel([self._turns.pop(name) for name in restarted])
        for name in restarted:
            self._workspaces.discard(name)

    async def _present_winner(self) -> RunOutcome:
        answer = rules.leading_answer(self._state)
        if answer is None:
            raise AssertionError
        author = self._state.agents[answer.author]
        self._apply(rules.begin_presentation(self._state, author.id, self._clock()))
        content, note = answer.content, ""
        if len(self._state.agents) > 1:
            try:
                content = await self._ask_for_presentation(author)
            except AgentFailedError as error:
                self._apply(rules.fall_back(self._state, error.type, error.message))
                note = f"; its presentation failed ({error.message}), so {answer.label} is final"
        votes = rules.vote_counts(self._state)[answer.label]
        cast = len(self._state.votes)
        how = f"won with {votes} of {cast} votes" if cast else "answered"
        return await self._finish(author.id, content, f"{author.id} {how}{note}")

    async def _ask_for_presentation(self, author: rules.Agent) -> str:
        if author.failure:
            message = f"the agent had failed before: {author.failure.message}"
            raise AgentFailedError(author.failure.type, message)
        return await present(self._seat(author.id), self._state)

    async def _present_first_living(self) -> RunOutcome:
        """Without coordination rounds: the first agent that can gives the final answer."""
        for agent in self._spec.agents:
            self._apply(rules.begin_presentation(self._state, agent.id, self._clock()))
            try:
                content = await present(self._seat(agent.id), self._state)
            except AgentFailedError as error:
                now = self._clock()
                self._apply(rules.fail_agent(self._state, agent.id, error.type, error.message, now))
            else:
                why = f"{agent.id} answered without rounds"
                return await self._finish(agent.id, content, why)
        return self._nobody_left()

    async def _finish(self, agent_id: str, content: str, reason: str) -> RunOutcome:
        workspace = await self._workspaces.stage_final(agent_id)
        self._recorder.save_final(agent_id, content, workspace)
        self._apply(rules.finish(self._state, content, self._clock()))
        return RunOutcome.of(ExitCode.SUCCESS, reason)

    def _nobody_left(self) -> RunOutcome:
        self._apply(rules.end_without_agents(self._state))
        failures = [
            f"{agent.id}: {agent.failure.type.value}: {agent.failure.message}"
            for agent in self._state.agents.values()
            if agent.failure
        ]
        reason = f"no agent could finish: {'; '.join(failures)}"
        if rules.best_answer(self._state):
            reason = f"{reason}; {self._best_so_far()}"
        return RunOutcome.of(ExitCode.EXECUTION, reason)

    def _time_out(self, limit: float) -> RunOutcome:
        message = f"orchestrator_timeout_seconds ({limit:g} s) are over"
        self._apply(rules.time_out(self._state, message, self._clock()))
        return RunOutcome.of(ExitCode.TIMEOUT, f"{message}; {self._best_so_far()}")

    def _best_so_far(self) -> str:
        best = rules.best_answer(self._state)
        return f"the best answer so far is {best.label} by {best.author}" if best else "no answer"

    def _apply(self, transition: Transition, workspace: Staged | None = None) -> None:
        self._recorder.record(transition, workspace)

    def _seat(self, agent_id: str) -> Seat:
        agent = next(agent for agent in self._spec.agents if agent.id == agent_id)
        hear: Listener = partial(self._recorder.hear, agent_id)
        toolbox = self._toolboxes.get(agent_id)
        listen = toolbox.overhearing(hear) if toolbox else hear
        return Seat(self._spec, agent, self._client, listen, toolbox)

    def _refresh_usage(self) -> None:
        """Ask the host for its count beside the work; one question at a time is enough."""
        if self._usage_task is None or self._usage_task.done():
            self._usage_task = asyncio.create_task(self._count_usage(None))

    async def _count_usage(self, limit_seconds: float | None) -> None:
        try:
            async with asyncio.timeout(limit_seconds):
                usage = await self._client.usage()
        except TimeoutError:
            return
        if usage is not None:
            self._recorder.record_usage(usage)

    async def _end_tasks(self) -> None:
        await cancel(self._turns.values())
        if self._usage_task is not None:
            await cancel([self._usage_task])


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have cleaned up; what they raise is dropped."""
    for task in (ending := list(tasks)):
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
