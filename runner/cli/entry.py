"""The two commands' entry points, and the one place that decides an exit code. Runs on: host."""

import gc
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import click

from runner.cli.edge import Edge
from runner.cli.lost_interrupt import raise_lost_interrupts_again

_NEW_OBJECTS_BEFORE_COLLECTION = 20_000
"""Start-up makes objects that stay: with Python's 700, a tenth of it is looking for garbage."""
CONFIGURATION, EXECUTION, INTERRUPTED = 1, 2, 4  # ExitCode's, without importing pydantic for --help


def massgen() -> NoReturn:
    """Run the `massgen` command and end the process."""
    _end(_massgen_command, "massgen")


def massgen_runner() -> NoReturn:
    """Run the `massgen-runner` command group and end the process."""
    _end(_runner_group, "massgen-runner")


def _massgen_command() -> click.Command:
    from runner.cli.massgen import massgen as command

    return command


def _runner_group() -> click.Command:
    from runner.cli.group import massgen_runner as command

    return command


def _end(load: Callable[[], click.Command], program: str) -> NoReturn:
    gc.set_threshold(_NEW_OBJECTS_BEFORE_COLLECTION)
    _reopen_closed_streams()
    _write_what_the_encoding_lacks_as_escapes()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP: it stays so
            signal.signal(number, signal.default_int_handler)
    raise_lost_interrupts_again()
    code = main(load, program, sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)  # the code is decided
    _flush_quietly()
    gc.freeze()  # or the interpreter goes through everything once more before it ends
    sys.exit(code)


def main(load: Callable[[], click.Command], program: str, arguments: Sequence[str]) -> int:
    """Run a command and return the process's exit code; errors become lines on stderr."""
    edge = Edge()
    try:
        result = load().main(
            args=list(arguments), prog_name=program, standalone_mode=False, obj=edge
        )
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:
        return CONFIGURATION if end.exit_code else 0
    except click.ClickException as error:
        _say_usage_error(error, program)
        return CONFIGURATION
    except (click.Abort, KeyboardInterrupt):
        _say("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        return EXECUTION
    except Exception as error:
        return _failed(error, edge, debug="--debug" in arguments)


def _failed(error: Exception, edge: Edge, *, debug: bool) -> int:
    from runner.contract.text import printable
    from runner.errors import RunnerError
    from runner.gateway.redaction import Redactor

    redact = edge.redact or Redactor()
    if debug:
        from runner.host.masked_output import masked_traceback

        _say(masked_traceback(error, redact).rstrip())
    said = printable(redact(str(error)))
    if isinstance(error, RunnerError):
        _say(*(f"Error: {line}" for line in said.splitlines()))
        return int(error.exit_code)
    _say(f"Error: internal: {type(error).__name__}: {said} (--debug shows more)")
    return EXECUTION


def _say_usage_error(error: click.ClickException, program: str) -> None:
    message = error.format_message()
    option = getattr(error, "option_name", None)
    if isinstance(error, click.NoSuchOption) and option and not str(option).startswith("--"):
        message += " A question that begins with '-' goes after `--`."
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else program
    _say(f"Error: {message}", f"Try `{path} --help`.")


def _say(*lines: str) -> None:
    try:
        for line in lines:
            click.echo(line, err=True)
    except (OSError, ValueError):
        return  # stderr is closed: the exit code has to do


def _reopen_closed_streams() -> None:
    """Give a process started with closed standard streams harmless ones.

    Otherwise the next file it opens takes descriptor 1 or 2, and is printed into.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _write_what_the_encoding_lacks_as_escapes() -> None:
    """Let no character of a question, a path or an answer end a command (stderr does so anyway)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _flush_quietly() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
