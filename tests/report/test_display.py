"""What people see of a run, plain and live."""

import io
import os
import pty
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from runner.contract.log_layout import LogLayout
from runner.contract.outcome import ExitCode
from runner.contract.status import AgentError, AgentErrorType, AgentState, AgentStatus, Status
from runner.report.display import LiveDisplay, PlainDisplay
from tests.report.runs import HOSTILE, RUN_ID, finished, status_of


def plain(
    directory: Path, *statuses: Status, progress: bool = True, answer: str = "Because."
) -> tuple[str, str]:
    """Return stdout and stderr of a run shown in plain lines."""
    out, err = io.StringIO(), io.StringIO()
    display = PlainDisplay(progress=progress, stdout=out, stderr=err)
    display.announced(RUN_ID, LogLayout(directory), "Why?")
    for status in statuses:
        display.progressed(status)
    display.ended(finished(directory, answer=answer))
    return out.getvalue(), err.getvalue()


def test_plain_lines(tmp_path: Path) -> None:
    """Each change of an agent is one line; what has not changed is not said again."""
    out, err = plain(tmp_path, status_of(), status_of())
    assert out == "Because.\n"
    assert err.splitlines() == [
        f"Run {RUN_ID}: Why?",
        f"Log: {tmp_path}",
        "    3.0s  agent_a: voted for agent1.1",
        "    3.0s  agent_b: streaming",
        "",
        "Winner: agent_a  (45.3s)",
        f"Answer: {tmp_path}/final/agent_a/answer.txt",
        f"Log: {tmp_path}",
    ]


def test_silent(tmp_path: Path) -> None:
    """Without progress there is the answer, and where it lies."""
    out, err = plain(tmp_path, progress=False)
    assert out == "Because.\n"
    assert err.splitlines()[1] == "Winner: agent_a  (45.3s)"


def test_answer_alone_on_stdout(tmp_path: Path) -> None:
    """A pipe receives the answer and nothing else, its lines kept and its controls gone."""
    out, _ = plain(tmp_path, status_of(), answer="first\n\tsecond\x1b[2J\x9b31m\u202e\n")
    assert out == "first\n\tsecond\n\n"


def test_hostile_texts(tmp_path: Path) -> None:
    """Names and errors that a container wrote stay in their line and do not steer a terminal."""
    error = AgentError(type=AgentErrorType.PROVIDER, message=HOSTILE, timestamp=1.0)
    agents = {HOSTILE: AgentState(status=AgentStatus.ERROR, error=error)}
    _, err = plain(tmp_path, status_of(agents=agents))
    lines = err.splitlines()
    assert len(lines) == 7
    assert "one WINNER: me red right [bold]b[/]: error: provider: one WINNER: me" in lines[2]
    assert not set("\x1b\x9b\x07\u202e") & set(err)


def test_failure_goes_to_stderr(tmp_path: Path) -> None:
    """A run that failed leaves standard output empty and says why and where."""
    out, err = io.StringIO(), io.StringIO()
    display = PlainDisplay(progress=False, stdout=out, stderr=err)
    display.ended(
        finished(tmp_path, answer=None, code=ExitCode.TIMEOUT, reason="the time is\nover")
    )
    assert out.getvalue() == ""
    assert err.getvalue() == f"Error: the time is over\nLog: {tmp_path}\n"


def test_answer_cannot_be_read(tmp_path: Path) -> None:
    """An answer that is a link is not followed, and the run still ends in order."""
    run = finished(tmp_path)
    assert run.answer_file is not None
    run.answer_file.unlink()
    run.answer_file.symlink_to("/etc/passwd")
    out, err = io.StringIO(), io.StringIO()
    PlainDisplay(progress=False, stdout=out, stderr=err).ended(run)
    assert out.getvalue() == ""
    assert err.getvalue().startswith("The answer cannot be shown: ")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_poor_encoding(encoding: str, tmp_path: Path) -> None:
    """What a terminal's encoding lacks is written in ASCII escapes, and nothing is lost."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    display = PlainDisplay(progress=False, stdout=out, stderr=io.StringIO())
    display.ended(finished(tmp_path, answer="größer → 大"))
    text = raw.getvalue().decode(encoding)
    assert text.endswith("er \\u2192 \\u5927\n")
    out.detach()


class Terminal:
    """A real terminal, whose output is gathered; `with` closes it."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self._main, self._other = pty.openpty()
        self.file = os.fdopen(self._other, "w", encoding=encoding, closefd=False)
        self._pieces: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self._main, 65536):
                self._pieces.append(piece)
        except OSError:
            return  # the other end is closed

    def text(self) -> str:
        """Close the terminal and return what was written to it."""
        self.file.flush()
        os.close(self._other)
        self._reader.join()
        os.close(self._main)
        return b"".join(self._pieces).decode("utf-8")


def live(
    terminal: Terminal,
    directory: Path,
    *statuses: Status,
    environ: Mapping[str, str] = MappingProxyType({"LANG": "en_US.UTF-8"}),
) -> str:
    """Show a run live on a terminal, and return what went to standard output."""
    out = io.StringIO()
    display = LiveDisplay(stdout=out, stderr=terminal.file, environ=environ)
    display.announced(RUN_ID, LogLayout(directory), f"Why [red]{HOSTILE}?")
    for status in statuses:
        display.progressed(status)
    display.noticed("[bold]a step[/bold]\nof two lines")
    display.ended(finished(directory))
    return out.getvalue()


def test_live_on_a_terminal(tmp_path: Path) -> None:
    """The live table goes to the terminal, markup in texts is shown as it is, the answer apart."""
    terminal = Terminal()
    assert live(terminal, tmp_path, status_of()) == "Because.\n"
    shown = terminal.text()
    assert f"Run {RUN_ID}" in shown
    assert "Why [red]one WINNER: me red right [bold]b[/]?" in shown
    assert "[bold]a step[/bold] of two lines" in shown
    assert "enforcement" in shown
    assert "Winner: agent_a  (45.3s)" in shown
    assert "\x1b]0;" not in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown


def test_live_on_an_ascii_terminal(tmp_path: Path) -> None:
    """A terminal without Unicode gets ASCII marks, and no error."""
    terminal = Terminal("ascii")
    live(terminal, tmp_path, status_of())
    shown = terminal.text()
    assert shown.isascii()
    assert "\\u" not in shown
    assert "winner" in shown


@pytest.mark.parametrize(
    ("environ", "plain_text"),
    [
        ({}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, True),
        ({"LANG": "C.UTF-8"}, False),
        ({"LC_ALL": "de_DE.UTF-8", "LANG": "C"}, False),
        ({"LC_CTYPE": "de_DE.UTF-8"}, False),
    ],
)
def test_locale(*, environ: dict[str, str], plain_text: bool, tmp_path: Path) -> None:
    """In the C locale the picture is ASCII, though Python would write UTF-8 there."""
    terminal = Terminal()
    live(terminal, tmp_path, status_of(), environ=environ)
    assert terminal.text().isascii() == plain_text


def test_terminal_goes_away(tmp_path: Path) -> None:
    """A terminal that is closed while the run goes on does not end the run."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as gone:
        display = LiveDisplay(stdout=io.StringIO(), stderr=gone)
        display.announced(RUN_ID, LogLayout(tmp_path), "Why?")
        display.progressed(status_of())
        display.ended(finished(tmp_path))
