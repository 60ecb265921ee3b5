"""Keep credentials out of the host's log and tracebacks. Runs on: host."""

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from runner.contract.text import printable

Redact = Callable[[str], str]


@contextmanager
def masked_log(redact: Redact) -> Iterator[None]:
    """Let warnings and errors of every module go to stderr masked, tracebacks included.

    What ends a thread, or is raised where nobody can catch it, is logged the same way.
    """
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_MaskingFormatter(redact))
    root = logging.getLogger()
    hooks = threading.excepthook, sys.unraisablehook

    def unraisable(failure: "sys.UnraisableHookArgs") -> None:
        if failure.exc_type is KeyboardInterrupt:
            hooks[1](failure)  # whoever set it knows what becomes of an interrupt
        else:
            _log_unraisable(failure)

    root.addHandler(handler)
    threading.excepthook = _thread_failed
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = hooks
        root.removeHandler(handler)


def masked_traceback(error: BaseException, redact: Redact) -> str:
    """Return the traceback of an error and its causes, without credentials."""
    return printable(redact("".join(traceback.format_exception(error))))


class _MaskingFormatter(logging.Formatter):
    def __init__(self, redact: Redact) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        # The whole text: a key may stand in an argument, in the traceback, or across both.
        return printable(self._redact(super().format(record)))


_logger = logging.getLogger(__name__)


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_type is SystemExit:
        return  # as threading itself does
    name = failure.thread.name if failure.thread else "?"
    _log_error(f"thread {name} failed", failure.exc_value, failure.exc_traceback)


def _log_unraisable(failure: "sys.UnraisableHookArgs") -> None:
    message = failure.err_msg or "exception ignored"
    _log_error(message, failure.exc_value, failure.exc_traceback)


def _log_error(message: str, error: BaseException | None, where: TracebackType | None) -> None:
    info = (type(error), error, where) if error is not None else None
    _logger.error("%s", message, exc_info=info)
