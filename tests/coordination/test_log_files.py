"""Files of the log directory: whole at every instant, harmless to read. Runs on: host."""

import json
from pathlib import Path

import pytest

from runner.contract.events import Event, EventType
from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.spec import CoordinationSpec
from runner.contract.status import AgentErrorType, Status
from runner.coordination import snapshots
from runner.coordination.models.stream import Delta, DeltaKind
from runner.coordination.outputs import OutputFile
from runner.coordination.recorder import Recorder
from runner.coordination.snapshots import Decided
from runner.coordination.state import cast_vote, fail_agent, give_answer, new_run, start_turn
from runner.coordination.table import Table
from runner.errors import ExecutionError
from tests.coordination.processes import agents, spec_in

NOW = 1_700_000_000.25


def recorder_in(directory: Path, *ids: str) -> Recorder:
    spec = spec_in(directory, agents(*ids), start_time=NOW - 10)
    Path(spec.log_dir).mkdir(parents=True)
    return Recorder(spec, new_run(ids, CoordinationSpec()), clock=lambda: NOW)


def status_in(directory: Path) -> Status:
    return Status.model_validate_json(next(directory.glob("log_*/status.json")).read_bytes())


def test_all_files_are_there_from_the_first_write(tmp_path: Path) -> None:
    """A reader finds every file of the layout before any model has spoken."""
    with recorder_in(tmp_path, "a", "b"):
        layout = LogLayout(next(tmp_path.glob("log_*")))

        for path in (layout.status, layout.events, layout.votes, layout.snapshot_mappings):
            json.loads(path.read_text())
        assert layout.table.exists()
        assert {path.name for path in layout.agent_outputs.iterdir()} == {
            "a.txt",
            "b.txt",
            "system_status.txt",
        }


def test_elapsed_time_is_counted_from_the_command_s_start(tmp_path: Path) -> None:
    """start_time is the host's; elapsed_seconds includes what passed before the container."""
    with recorder_in(tmp_path, "a"):
        meta = status_in(tmp_path).meta

    assert (meta.start_time, meta.elapsed_seconds) == (NOW - 10, 10.0)


def test_two_answers_at_one_instant_have_directories_of_their_own(tmp_path: Path) -> None:
    """A clash of time stamps moves to the next microsecond."""
    layout = LogLayout(tmp_path)

    decided = Decided("", NOW)
    paths = {snapshots.save_answer(layout, "a", f"{n}", decided).path for n in range(3)}

    assert len(paths) == 3
    assert {(tmp_path / path).read_text() for path in paths} == {"0", "1", "2"}


def test_a_snapshot_has_answer_context_and_workspace(tmp_path: Path) -> None:
    """The context is what the author could see, not what it wrote."""
    with recorder_in(tmp_path, "a", "b") as recorder:
        recorder.record(start_turn(recorder.state, "a", NOW))
        recorder.record(give_answer(recorder.state, "a", "Paris\ud800", NOW))
        recorder.record(start_turn(recorder.state, "b", NOW))
        recorder.record(cast_vote(recorder.state, "b", "a", "right", NOW))
        recorder.write_all()
    layout = LogLayout(next(tmp_path.glob("log_*")))

    answer = next((layout.root / "a").iterdir())
    assert {path.name for path in answer.iterdir()} == {"answer.txt", "context.txt", "workspace"}
    assert (answer / "answer.txt").read_text() == "Paris?"
    assert "CURRENT ANSWERS" not in (answer / "context.txt").read_text()
    vote = next((layout.root / "b").iterdir())
    assert "Paris" in (vote / "context.txt").read_text()
    assert json.loads((vote / "vote.json").read_text())["voted_for_label"] == "agent1.1"
    mappings = json.loads(layout.snapshot_mappings.read_text())
    assert set(mappings) == {"agent1.1", "agent2.vote1"}
    assert (layout.root / mappings["agent1.1"]["path"]).is_file()


def test_the_end_is_written_and_stays(tmp_path: Path) -> None:
    """outcome, finish_reason and is_complete tell how the run ended."""
    with recorder_in(tmp_path, "a") as recorder:
        recorder.record(fail_agent(recorder.state, "a", AgentErrorType.PROVIDER, "gone", NOW))
        recorder.close(RunOutcome.of(ExitCode.EXECUTION, "no agent could finish"))

    meta = status_in(tmp_path).meta
    assert meta.outcome is not None
    assert (meta.finish_reason, meta.finish_reason_details, meta.is_complete) == (
        "execution",
        "no agent could finish",
        False,
    )


def test_tokens_are_held_back_until_the_flush(tmp_path: Path) -> None:
    """A token costs no write of its own."""
    file = OutputFile(tmp_path / "a.txt")
    file.write("one ")
    file.write("two\x1b[31m\u202e")
    assert (tmp_path / "a.txt").read_text() == ""

    file.flush()
    file.close()

    assert (tmp_path / "a.txt").read_text() == "one two"


def test_an_output_file_has_a_limit(tmp_path: Path) -> None:
    """An agent that never stops does not fill the disk; the file says that it was cut."""
    file = OutputFile(tmp_path / "a.txt", max_bytes=9)
    for _ in range(3):
        file.write("éé")
        file.flush()
    file.write("more")
    file.flush()
    file.close()

    assert (tmp_path / "a.txt").read_text() == "éééé\n[the output is cut here]\n"


def test_what_an_agent_does_is_marked_in_its_output(tmp_path: Path) -> None:
    """Thinking, text and tool calls can be told apart."""
    with recorder_in(tmp_path, "a") as recorder:
        for kind, text in (
            (DeltaKind.THINKING, "hm"),
            (DeltaKind.TEXT, "I "),
            (DeltaKind.TEXT, "say"),
            (DeltaKind.TOOL_NAME, "vote"),
            (DeltaKind.TOOL_ARGUMENTS, "{}"),
        ):
            recorder.hear("a", Delta(kind, text))
        recorder.write_all()

    output = next(tmp_path.glob("log_*/agent_outputs/a.txt")).read_text()
    assert output == "\n[thinking]\nhm\n[text]\nI say\n[vote] {}"


def test_the_table_has_one_line_for_each_event() -> None:
    """No answer can add a row or a colour."""
    data = {"preview": "x\nE9  forged\x1b[31m"}
    event = Event(
        event_id="E1", timestamp=NOW, agent_id="a", event_type=EventType.VOTE, data=dict(data)
    )

    table = Table()
    table.add(event)
    lines = table.text().splitlines()

    assert len(lines) == 3
    assert lines[2] == "E1     22:13:20.250  a      vote  preview: x E9 forged"


def test_a_directory_that_is_gone_is_an_error_for_people(tmp_path: Path) -> None:
    """What could not be written, and why."""
    recorder = recorder_in(tmp_path, "a")
    next(tmp_path.glob("log_*")).rmdir()

    with pytest.raises(ExecutionError, match="agent_outputs could not be written: No such file"):
        recorder.__enter__()
