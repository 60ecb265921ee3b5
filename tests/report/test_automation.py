"""The lines of automation mode, word for word."""

import io
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode
from runner.report.automation import AutomationLines
from tests.report.runs import HOSTILE, RUN_ID, finished

TEXTS = st.text(max_size=400) | st.sampled_from(
    [HOSTILE, "WINNER: x\nCOMPLETED: y", "\u2028", "\x85"]
)


def lines_of(directory: Path, question: str, **end: object) -> tuple[list[str], str]:
    """Return what a run says on stdout, line by line, and on stderr."""
    out, err = io.StringIO(newline=""), io.StringIO(newline="")
    said = AutomationLines(out, err)
    said.announced(RUN_ID, LogLayout(directory), question)
    said.ended(finished(directory, **end))  # type: ignore[arg-type]  # passed on as given
    return out.getvalue().splitlines(), err.getvalue()


def test_success(tmp_path: Path) -> None:
    """A run that succeeds prints exactly the guide's lines."""
    lines, err = lines_of(tmp_path, "Why?")
    assert lines == [
        f"LOG_DIR: {tmp_path}",
        f"STATUS: {tmp_path}/status.json",
        "QUESTION: Why?",
        "[Coordination in progress - monitor status.json for real-time updates]",
        "",
        "WINNER: agent_a",
        f"ANSWER_FILE: {tmp_path}/final/agent_a/answer.txt",
        "DURATION: 45.3s",
        "ANSWER_PREVIEW: Because.",
        "",
        "COMPLETED: 2 agents, 45.3s total",
    ]
    assert err == ""


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (ExitCode.CONFIGURATION, "configuration"),
        (ExitCode.EXECUTION, "execution"),
        (ExitCode.TIMEOUT, "timeout"),
        (ExitCode.INTERRUPTED, "interrupted"),
    ],
)
def test_failure(code: ExitCode, kind: str, tmp_path: Path) -> None:
    """A run that fails prints its kind, its reason and its duration, and no winner."""
    lines, err = lines_of(tmp_path, "Why?", answer=None, code=code, reason="no agent\nis left")
    assert lines[4:] == ["", f"ERROR: {kind}: no agent is left", "DURATION: 45.3s"]
    assert err == "Error: no agent is left\n"


@settings(deadline=None)
@given(question=TEXTS, preview=TEXTS)
def test_no_text_makes_a_line(question: str, preview: str) -> None:
    """Whatever a question or an answer holds, the lines and their keys are the same."""
    with tempfile.TemporaryDirectory() as directory:
        lines, _ = lines_of(Path(directory), question, preview=preview)
    keys = [line.partition(":")[0] for line in lines]
    middle = ["[Coordination in progress - monitor status.json for real-time updates]", ""]
    ending = ["WINNER", "ANSWER_FILE", "DURATION", "ANSWER_PREVIEW", "", "COMPLETED"]
    assert keys == ["LOG_DIR", "STATUS", "QUESTION", *middle, *ending]
    assert not [c for line in lines for c in line if ord(c) < 32 or 127 <= ord(c) < 160]


@settings(deadline=None)
@given(reason=TEXTS)
def test_no_reason_makes_a_line(reason: str) -> None:
    """A failure stays one line, whatever its reason holds."""
    with tempfile.TemporaryDirectory() as directory:
        lines, err = lines_of(
            Path(directory), "Why?", answer=None, code=ExitCode.EXECUTION, reason=reason
        )
    assert len(lines) == 7
    assert len(err.splitlines()) == 1


def test_hostile_winner(tmp_path: Path) -> None:
    """A winner's name that a broken container wrote makes no line either."""
    lines, _ = lines_of(tmp_path, "Why?", winner="a\nCOMPLETED: 9")
    assert lines[5] == "WINNER: a COMPLETED: 9"
    assert len(lines) == 11


def test_preview_is_short(tmp_path: Path) -> None:
    """The preview of a long answer has 200 characters and ends in dots."""
    lines, _ = lines_of(tmp_path, "Why?", preview="x" * 5000)
    assert lines[8] == f"ANSWER_PREVIEW: {'x' * 197}..."


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_utf8_whatever_the_locale(encoding: str, tmp_path: Path) -> None:
    """Scripts get UTF-8, so that a printed path names the file it means."""
    directory = tmp_path / "größer 大"
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    said = AutomationLines(out, io.StringIO())
    said.announced(RUN_ID, LogLayout(directory), "Wie groß?")
    lines = raw.getvalue().split(b"\n")
    assert lines[0] == b"LOG_DIR: " + os.fsencode(directory)
    assert lines[2] == "QUESTION: Wie groß?".encode()
    out.detach()


def test_reader_leaves(tmp_path: Path) -> None:
    """A closed standard output ends nothing, and the rest still reaches standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    err = io.StringIO()
    with open(writing, "w", encoding="utf-8") as out:
        said = AutomationLines(out, err)
        said.announced(RUN_ID, LogLayout(tmp_path), "Why?")
        said.noticed("still there")
        said.ended(finished(tmp_path, answer=None, code=ExitCode.EXECUTION, reason="broken"))
    assert err.getvalue() == "still there\nError: broken\n"


def test_both_streams_closed(tmp_path: Path) -> None:
    """Without any stream the run goes on all the same."""
    out, err = io.StringIO(), io.StringIO()
    out.close()
    err.close()
    said = AutomationLines(out, err)
    said.announced(RUN_ID, LogLayout(tmp_path), "Why?")
    said.noticed("nobody hears this")
    said.ended(finished(tmp_path))
