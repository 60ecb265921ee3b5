"""Where the question comes from: the argument, or standard input. Runs on: host."""

import sys

from runner.errors import ConfigurationError

MAX_QUESTION_BYTES = 8 * 1024 * 1024
_USAGE = 'give one: massgen --config FILE "your question", or write it to standard input'


def read_question(argument: str | None) -> str:
    """Return the question; `-`, or none on a pipe, means standard input.

    Raises ConfigurationError where there is none, or it is no text.
    """
    question = _from_stdin(argument) if argument is None or argument == "-" else argument
    if not question.strip():
        raise ConfigurationError(f"question: it is empty: {_USAGE}")
    if "\0" in question:
        raise ConfigurationError("question: it contains a NUL character: remove it")
    return question.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _from_stdin(argument: str | None) -> str:
    if argument is None and sys.stdin.isatty():
        raise ConfigurationError(f"question: there is none: {_USAGE}")
    try:
        content = sys.stdin.buffer.read(MAX_QUESTION_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"question: standard input cannot be read ({error}): {_USAGE}"
        ) from error
    if len(content) > MAX_QUESTION_BYTES:
        raise ConfigurationError(
            f"question: standard input holds more than {MAX_QUESTION_BYTES} bytes: shorten it"
        )
    return content.decode("utf-8", "replace").strip()
