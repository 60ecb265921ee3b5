"""Ask the user's own program, such as a password store, for a credential. Runs on: host."""

import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, NamedTuple

from runner.config.child_environment import without_keys
from runner.contract.text import one_line
from runner.errors import ConfigurationError
from runner.gateway.redaction import Redactor

NAME = "{name}"
DEADLINE_SECONDS = 60.0
"""People may have to unlock their store first."""
MAX_OUTPUT_BYTES = 64 * 1024
_REASON_CHARS = 200


class CommandAnswer(NamedTuple):
    """What the program said: the credential, or why there is none."""

    value: str
    """Empty: it has none."""
    reason: str = ""


def with_name(command: Sequence[str], variable: str) -> list[str]:
    """Return the command that asks for `variable`: in place of `{name}`, or as the last word."""
    if any(NAME in word for word in command[1:]):
        return [command[0], *(word.replace(NAME, variable) for word in command[1:])]
    return [*command, variable]


def ask_command(
    command: Sequence[str],
    variable: str,
    environ: Mapping[str, str],
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> CommandAnswer:
    """Return the first line that the command prints for `variable`.

    Its environment is `environ` without model keys. A command that fails has no such credential;
    one that cannot be started, does not end or prints too much raises ConfigurationError.
    """
    program = one_line(command[0], _REASON_CHARS)
    where = f"credential_command: {program}"
    try:
        process = subprocess.Popen(
            with_name(command, variable),
            env=without_keys(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise ConfigurationError(
            f"{where} cannot be started: {error.strerror}: correct the path in runner.yaml"
        ) from error
    try:
        output, complaint = _read_both(process, where, deadline_seconds)
    finally:
        _end(process)
    if process.returncode != 0:
        return CommandAnswer("", f"{program} ended with {process.returncode}{_last(complaint)}")
    return CommandAnswer(_first_line(output, variable, program))


def _read_both(
    process: subprocess.Popen[bytes], where: str, deadline_seconds: float
) -> tuple[bytes, bytes]:
    """Return stdout and the end of stderr once the process has ended."""
    deadline = time.monotonic() + deadline_seconds
    output, complaint = bytearray(), bytearray()
    assert process.stdout is not None  # noqa: S101  # for the type checker
    assert process.stderr is not None  # noqa: S101
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, output)
        selector.register(process.stderr, selectors.EVENT_READ, complaint)
        # Its output may stay open in a child of its own, such as an agent that it started.
        while process.stdout in selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise _too_slow(where, deadline_seconds)
            for key, _ in ready:
                if not _take(key.fileobj, key.data):  # type: ignore[arg-type]
                    selector.unregister(key.fileobj)
            if len(output) > MAX_OUTPUT_BYTES:
                raise ConfigurationError(
                    f"{where} printed more than {MAX_OUTPUT_BYTES} bytes: it must print one key"
                )
            del complaint[:-MAX_OUTPUT_BYTES]
    try:
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise _too_slow(where, deadline_seconds) from None
    return bytes(output), bytes(complaint) + _rest(process.stderr)


def _take(stream: IO[bytes], into: bytearray) -> bool:
    """Read what is there; tell whether there may be more."""
    chunk = os.read(stream.fileno(), MAX_OUTPUT_BYTES)
    into += chunk
    return bool(chunk)


def _rest(stream: IO[bytes]) -> bytes:
    """Return what is still in the pipe, without waiting for whoever else has it open."""
    os.set_blocking(stream.fileno(), False)
    with suppress(BlockingIOError):
        return os.read(stream.fileno(), MAX_OUTPUT_BYTES)
    return b""


def _too_slow(where: str, deadline_seconds: float) -> ConfigurationError:
    return ConfigurationError(
        f"{where} did not end within {deadline_seconds:g} s: unlock your store, or try the "
        "command by hand"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _first_line(output: bytes, variable: str, program: str) -> str:
    """Return the first line, as password stores keep the secret before notes of other kinds."""
    try:
        lines = output.decode().strip().splitlines()
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"credential_command: {program} printed no text for {variable}"
        ) from None  # the error would carry the content
    return lines[0].strip() if lines else ""


def _last(complaint: bytes) -> str:
    lines = [line for line in complaint.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        return ""
    return f" ({Redactor()(one_line(lines[-1], _REASON_CHARS))})"
