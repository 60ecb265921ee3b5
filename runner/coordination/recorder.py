"""The only writer of the log directory in the run container. Runs on: the run container.

A transition is recorded at once in memory and, for answers and votes, in a snapshot; the files
that others follow are replaced soon after: at most ten times a second, at least every 2 s.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pydantic import JsonValue

from runner.contract.events import EventType
from runner.contract.files import atomic_write
from runner.contract.log_layout import LogLayout
from runner.contract.outcome import RunOutcome
from runner.contract.spec import RunSpec
from runner.contract.status import Phase
from runner.contract.text import encodable, one_line
from runner.contract.usage import RunUsage
from runner.coordination import snapshots
from runner.coordination.disk import writing
from runner.coordination.events_log import EventsLog
from runner.coordination.models.stream import Delta, DeltaKind
from runner.coordination.outputs import Outputs
from runner.coordination.prompts import question_and_answers, shown_answers
from runner.coordination.snapshots import Decided, Snapshot
from runner.coordination.state import Happened, RunState, Transition, has_settled
from runner.coordination.status_view import Moment, status_of
from runner.coordination.tool_log import ToolLog, WatchedCall, ending
from runner.coordination.workspaces import Staged, summary
from runner.errors import ExecutionError

MIN_INTERVAL_SECONDS = 0.1
MAX_INTERVAL_SECONDS = 2.0
ACTIVITY_INTERVAL_SECONDS = 0.5
"""How soon `last_activity` follows an agent that speaks and does nothing else."""


class Recorder:
    """Writes the log of one run; a context manager that owns the files it keeps open."""

    def __init__(
        self, spec: RunSpec, state: RunState, clock: Callable[[], float] = time.time
    ) -> None:
        self.state = state
        self._spec = spec
        self._layout = LogLayout(Path(spec.log_dir))
        self._clock = clock
        self._outputs = Outputs()
        # Looked up for every token, so not put together each time.
        self._output_paths = {a: self._layout.agent_output(a) for a in state.agents}
        self._presentation_paths = {a: self._layout.presentation_output(a) for a in state.agents}
        self._events = EventsLog()
        self._tools = ToolLog()
        self._snapshots: dict[str, Snapshot] = {}
        self._votes_cast: dict[str, int] = {}
        self._activity: dict[str, float] = {}
        self._speaking: dict[str, DeltaKind] = {}
        self._lines_open: dict[str, bool] = {}
        """Agent id → what it said last ends in the middle of a line."""
        self._usage = RunUsage()
        self._outcome: RunOutcome | None = None
        self._changed = asyncio.Event()
        self._was_heard = False
        self._written: dict[Path, bytes] = {}

    def __enter__(self) -> Self:
        with writing(self._layout.root):
            self._layout.agent_outputs.mkdir(exist_ok=True)
            for agent_id in self.state.agents:
                self._outputs.write(self._layout.agent_output(agent_id), "")
            self.say(f"run {self._spec.run_id} has started with {len(self.state.agents)} agents")
        self.write_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._outputs.__exit__(*exc_info)

    def record(self, transition: Transition, workspace: Staged | None = None) -> None:
        """Take the next state and its events; `workspace` is what the one who decided had.

        Raises DiskFullError, ExecutionError.
        """
        before, self.state = self.state, transition.state
        now = self._clock()
        for happened in transition.events:
            self._events.add(happened, now)
            self._note(happened)
            with writing(self._layout.root):
                self._save_snapshot(happened, Decided(self._context(before), now, workspace))
        if before.phase is not self.state.phase:
            self.say(f"phase: {self.state.phase.value}")
        self._changed.set()

    def record_usage(self, usage: RunUsage) -> None:
        """Take what the host has counted so far."""
        if usage.budget_note and usage.budget_note != self._usage.budget_note:
            self.say(usage.budget_note)
        self._usage = usage
        self._changed.set()

    def hear(self, agent_id: str, delta: Delta) -> None:
        """Take a piece of what an agent says; it is on disk within 100 ms."""
        self._activity[agent_id] = self._clock()
        self._was_heard = True
        path = self._output_of(agent_id)
        if delta.kind is DeltaKind.TOOL_NAME:
            self._outputs.write(path, f"\n[{delta.text}] ")
            self._speaking[agent_id] = DeltaKind.TOOL_ARGUMENTS
            return
        if self._speaking.get(agent_id) is not delta.kind:
            self._speaking[agent_id] = delta.kind
            is_output = delta.kind is DeltaKind.TOOL_OUTPUT
            self._outputs.write(path, "\n" if is_output else f"\n[{delta.kind.value}]\n")
        self._outputs.write(path, delta.text)
        self._lines_open[agent_id] = not delta.text.endswith("\n")

    @contextmanager
    def watch(
        self, agent_id: str, tool: str, arguments: Mapping[str, JsonValue]
    ) -> Iterator[WatchedCall]:
        """Tell of a tool call that is under way while the context lasts, and of its end."""
        call = WatchedCall(tool, arguments, self._clock())
        self._tools.begin(agent_id, call)
        self._was_heard = True
        try:
            yield call
        finally:
            self._end_call(agent_id, call)

    def _end_call(self, agent_id: str, call: WatchedCall) -> None:
        if happened := self._tools.end(agent_id, call):
            self._events.add(happened, self._clock())
        is_heard = self._speaking.pop(agent_id, None) is DeltaKind.TOOL_OUTPUT
        break_ = "" if is_heard and not self._lines_open.get(agent_id) else "\n"
        self._outputs.write(self._output_of(agent_id), f"{break_}{ending(call)}\n")
        self._activity[agent_id] = self._clock()
        self._was_heard = True

    def say(self, line: str) -> None:
        """Add a line to system_status.txt."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self._clock()))
        self._outputs.write(self._layout.system_status, f"{stamp} {one_line(line)}\n")

    def save_final(self, agent_id: str, content: str, workspace: Staged | None = None) -> None:
        """Put the final answer on the disk for good. Raises DiskFullError, ExecutionError."""
        decided = Decided(self._context(self.state), self._clock(), workspace)
        self._say_skipped(agent_id, workspace)
        with writing(self._layout.final(agent_id)):
            saved = snapshots.save_final(self._layout, agent_id, content, decided)
        self._snapshots[self.state.agents[agent_id].final_label] = saved

    def close(self, outcome: RunOutcome) -> None:
        """Write everything for the last time. Raises DiskFullError, ExecutionError."""
        self._outcome = outcome
        for happened in self._tools.not_listed():
            self._events.add(happened, self._clock())
        self.say(f"run ended: {outcome.name}: {outcome.reason}")
        try:
            self.write_all()
        except ExecutionError as error:
            self._outcome = RunOutcome.of(error.exit_code, one_line(str(error)))
            self._write_status()
            raise

    async def keep_current(self) -> None:
        """Write what has changed until cancelled. Raises DiskFullError, ExecutionError."""
        loop = asyncio.get_running_loop()
        written = loop.time()
        while True:
            await asyncio.sleep(MIN_INTERVAL_SECONDS)
            self._flush_outputs()
            age = loop.time() - written
            is_old = self._was_heard and age >= ACTIVITY_INTERVAL_SECONDS
            if self._changed.is_set() or is_old or age >= MAX_INTERVAL_SECONDS:
                self.write_all()
                written = loop.time()

    def write_all(self) -> None:
        """Replace every file whose content has changed. Raises DiskFullError, ExecutionError."""
        self._changed.clear()
        self._was_heard = False
        self._flush_outputs()
        self._replace(self._layout.events, self._events.json())
        self._replace(self._layout.table, self._events.table())
        self._replace(self._layout.votes, self._votes_json())
        self._replace(self._layout.snapshot_mappings, self._mappings_json())
        self._write_status()

    def _write_status(self) -> None:
        """Replace status.json: the last file, so that what it says is on disk already."""
        tools = self._tools.in_use()
        moment = Moment(self._clock(), self._activity, self._usage, self._outcome, tools)
        status = status_of(self._spec, self.state, moment)
        self._replace(self._layout.status, status.model_dump_json(indent=2).encode())

    def _replace(self, path: Path, content: bytes) -> None:
        if self._written.get(path) != content:
            with writing(path):
                atomic_write(path, content)
            self._written[path] = content

    def _flush_outputs(self) -> None:
        with writing(self._layout.agent_outputs):
            self._outputs.flush()

    def _output_of(self, agent_id: str) -> Path:
        is_presenting = self.state.phase is Phase.PRESENTATION
        return (self._presentation_paths if is_presenting else self._output_paths)[agent_id]

    def _note(self, happened: Happened) -> None:
        """Tell people what happened, in the agent's own output or the system's."""
        details = ", ".join(f"{key}: {value}" for key, value in happened.data.items())
        line = one_line(f"{happened.type.value}: {details}", 400)
        if happened.agent_id is None:
            self.say(line)
            return
        self._speaking.pop(happened.agent_id, None)
        self._outputs.write(self._output_of(happened.agent_id), f"\n--- {line}\n")

    def _save_snapshot(self, happened: Happened, decided: Decided) -> None:
        if happened.agent_id is None:
            return
        agent = self.state.agents[happened.agent_id]
        if happened.type is EventType.NEW_ANSWER:
            answer = agent.answers[-1]
            self._say_skipped(agent.id, decided.workspace)
            saved = snapshots.save_answer(self._layout, agent.id, answer.content, decided)
            self._snapshots[answer.label] = saved
        elif happened.type is EventType.VOTE and agent.vote:
            number = self._votes_cast.get(agent.id, 0) + 1
            self._votes_cast[agent.id] = number
            self._say_skipped(agent.id, decided.workspace)
            saved = snapshots.save_vote(self._layout, agent.vote, decided)
            self._snapshots[f"{agent.name}.vote{number}"] = saved

    def _say_skipped(self, agent_id: str, workspace: Staged | None) -> None:
        if workspace is not None and (said := summary(workspace)):
            self.say(f"copy of the workspace of {agent_id}: {said}")

    def _context(self, state: RunState) -> str:
        return question_and_answers(self._spec.question, shown_answers(state))

    def _votes_json(self) -> bytes:
        votes = {
            vote.voter: {"voted_for": vote.target, "reason": encodable(vote.reason)}
            for vote in self.state.votes
        }
        consensus = bool(votes) and has_settled(self.state)
        content = {"votes": votes, "winner": self.state.winner, "consensus_reached": consensus}
        return json.dumps(content, indent=2).encode()

    def _mappings_json(self) -> bytes:
        mappings = {label: saved._asdict() for label, saved in self._snapshots.items()}
        return json.dumps(mappings, indent=2).encode()
