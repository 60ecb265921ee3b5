"""No credential in the host's log, tracebacks and messages."""

import logging
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from runner.cli.edge import edge_of_process
from runner.cli.entry import main
from runner.gateway.redaction import Redactor
from runner.host.masked_output import masked_log
from tests.support.planted_keys import planted_keys, search

KEYS = planted_keys("PLANTED")
[KEY] = KEYS.values()


def refuse() -> None:
    raise ValueError(f"the provider said: invalid key {KEY}")


def assert_masked(text: str) -> None:
    assert search(KEYS, [("stderr", text.encode())]) == []
    assert "[redacted]" in text


def failing_command() -> click.Command:
    @click.command()
    @click.option("--debug", is_flag=True)
    def command(*, debug: bool) -> None:
        edge_of_process().redact = Redactor([KEY])
        try:
            refuse()
        except ValueError as error:
            raise RuntimeError("the call failed") from error

    return command


def test_a_traceback_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """--debug shows the traceback with every cause, and a key in any of them masked."""
    assert main(failing_command, "massgen", ["--debug"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "the provider said" in said
    assert_masked(said)


def test_a_message_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The one line without --debug is masked too, here by the shape of a key."""

    @click.command()
    def command() -> None:
        raise RuntimeError("refused: sk-proj-" + "Ab3" * 12)

    assert main(lambda: command, "massgen", []) == 2
    said = capsys.readouterr().err
    assert "Ab3Ab3" not in said
    assert "[redacted]" in said


def test_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """A key in a message, an argument or a logged traceback is masked, whoever logs it."""
    logger = logging.getLogger("some.library")
    with masked_log(Redactor([KEY])):
        logger.warning("told %s", KEY)
        try:
            refuse()
        except ValueError:
            logger.exception("a call failed")
    said = capsys.readouterr().err
    assert said.count("[redacted]") == 2
    assert_masked(said)
    assert not [h for h in logging.getLogger().handlers if type(h) is logging.StreamHandler]


def test_a_thread_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """What ends a thread is logged masked, instead of printed as it is."""

    with masked_log(Redactor([KEY])):
        thread = threading.Thread(target=refuse, name="worker")
        thread.start()
        thread.join()
    said = capsys.readouterr().err
    assert "thread worker failed" in said
    assert_masked(said)


def test_what_nobody_can_catch(tmp_path: Path) -> None:
    """An exception in a finaliser goes the same way."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from runner.gateway.redaction import Redactor\n"
        "from runner.host.masked_output import masked_log\n"
        "key = sys.stdin.read()\n"
        "class Odd:\n"
        "    def __del__(self):\n"
        "        raise ValueError(key)\n"
        "with masked_log(Redactor([key])):\n"
        "    Odd()\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        input=KEY,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert "ValueError" in done.stderr
    assert_masked(done.stderr)
