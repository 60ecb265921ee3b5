"""What readers of a log see of agents' tool calls. Runs on: host."""

import json
from pathlib import Path

import pytest

from runner.contract.events import Event, EventType
from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.spec import CoordinationSpec
from runner.contract.status import Status
from runner.contract.tools import Result
from runner.coordination.events_log import EventsLog
from runner.coordination.models.stream import Delta, DeltaKind
from runner.coordination.recorder import Recorder
from runner.coordination.state import Happened, new_run
from runner.coordination.tool_log import MAX_LISTED
from tests.coordination.conftest import Run
from tests.coordination.processes import agents, spec_in
from tests.support.provider import Provider, Rule, Script, Text, ToolCall, ToolCalls
from tests.support.workshop import Workshop

NOW = 1_700_000_000.25


def recorder_in(directory: Path, *ids: str) -> tuple[Recorder, LogLayout]:
    spec = spec_in(directory, agents(*ids))
    layout = LogLayout(Path(spec.log_dir))
    layout.root.mkdir()
    return Recorder(spec, new_run(ids, CoordinationSpec()), clock=lambda: NOW), layout


def test_a_call_is_an_event_a_status_and_part_of_the_output(
    tmp_path: Path, models: Provider, run: Run
) -> None:
    """A command of an agent can be read as it was made, printed and ended, in all three places."""
    call = ToolCall("execute_command", json.dumps({"command": "echo one; echo two"}))
    models.play(Script(rules=(Rule((ToolCalls((call,)), Text("Done."))),)))
    with Workshop(tmp_path, models) as workshop:
        ended = run(workshop.members("a"))
    assert ended.exit_code == ExitCode.SUCCESS
    [event] = [event for event in ended.events if event["event_type"] == "tool_call"]
    assert event["agent_id"] == "a"
    data = event["data"]
    assert data.pop("duration_seconds") >= 0
    assert data == {
        "tool": "execute_command",
        "arguments": '{"command": "echo one; echo two"}',
        "exit_code": 0,
        "is_error": False,
        "is_called_off": False,
    }
    assert "tool: execute_command" in ended.layout.table.read_text()
    output = ended.layout.agent_output("a").read_text()
    assert '[execute_command] {"command": "echo one; echo two"}\none\ntwo\n[exit code 0, ' in output
    assert ended.status.agents["a"].tool is None


def test_the_status_names_the_tool_that_is_used(tmp_path: Path) -> None:
    """While calls are under way the latest is shown, and none when they have ended."""
    recorder, layout = recorder_in(tmp_path, "a", "b")

    def shown() -> str | None:
        recorder.write_all()
        tool = Status.model_validate_json(layout.status.read_bytes()).agents["a"].tool
        return tool.name if tool else None

    with recorder:
        assert shown() is None
        with recorder.watch("a", "first", {}):
            with recorder.watch("a", "second", {}):
                assert shown() == "second"
            assert shown() == "first"
        assert shown() is None


@pytest.mark.parametrize(
    ("result", "heard", "expected"),
    [
        (Result(id=1, text="x\n[exit code 3, 0.1 s]", exit_code=3), "x\n", "x\n[exit code 3, "),
        (Result(id=1, text="x\n[exit code 3, 0.1 s]", exit_code=3), "x", "x\n[exit code 3, "),
        (Result(id=1, text="content"), "", "\ncontent\n[done, "),
        (Result(id=1, text="no such\nfile", is_error=True), "", "\n[error, 0.0 s: no such file]"),
        (None, "", "\n[called off after "),
        (Result(id=1, text="\x1b[31m" + "y" * 9000), "", "\n" + "y" * 1900),
    ],
)
def test_the_end_of_a_call_is_a_line(
    tmp_path: Path, result: Result | None, heard: str, expected: str
) -> None:
    """Exit code, error or time taken; a long result is cut, and nothing reaches a terminal."""
    recorder, layout = recorder_in(tmp_path, "a")
    with recorder:
        with recorder.watch("a", "t", {}) as call:
            if heard:
                call.was_heard = True
                recorder.hear("a", Delta(DeltaKind.TOOL_OUTPUT, heard))
            call.result = result
        recorder.write_all()
    output = layout.agent_output("a").read_text()
    assert expected in output
    assert len(output) < 3000
    assert "\x1b" not in output


def test_a_busy_agent_does_not_bloat_the_events(tmp_path: Path) -> None:
    """After a thousand calls of an agent the rest is counted; another agent's are still listed."""
    recorder, layout = recorder_in(tmp_path, "a", "b")
    with recorder:
        for _ in range(MAX_LISTED + 7):
            with recorder.watch("a", "t", {"text": "x" * 100_000}) as call:
                call.result = Result(id=1, text="")
        with recorder.watch("b", "t", {}) as call:
            call.result = Result(id=1, text="")
        recorder.close(RunOutcome.of(ExitCode.SUCCESS, "done"))
    events = json.loads(layout.events.read_bytes())
    assert len(events) == MAX_LISTED + 2
    assert events[-1]["data"] == {"not_listed": 7}
    assert events[-1]["agent_id"] == "a"
    assert layout.events.stat().st_size < 1_000_000


def test_events_are_one_json_list(tmp_path: Path) -> None:
    """Whatever a value holds, each event reads back as it was, and the table keeps its columns."""
    log = EventsLog()
    assert json.loads(log.json()) == []
    values = ["plain", "line\nbreak", 'quote"', "ünï", "]},\n  {"]
    for number, value in enumerate(values):
        log.add(Happened(EventType.VOTE, "a" * (number + 1), {"value": value}), NOW)
        log.table()
    events = [Event.model_validate(event) for event in json.loads(log.json())]
    assert [event.data["value"] for event in events] == values
    assert [event.event_id for event in events] == ["E1", "E2", "E3", "E4", "E5"]
    lines = log.table().decode().splitlines()
    assert len(lines) == 2 + len(values)
    assert len({line.index("vote") for line in lines[2:]}) == 1
