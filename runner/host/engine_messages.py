"""What went wrong with the engine, in one line for people. Runs on: host."""

import re
from typing import Any

from runner.contract.text import one_line
from runner.host.engine_address import permission_message

ERROR_LENGTH = 500


def shown(url: str) -> str:
    """Return an engine's URL without a password."""
    return one_line(re.sub(r"//[^@/]*@", "//", url))


def connect_message(url: str, error: BaseException) -> str:
    """Return why an engine could not be reached, and what to do."""
    root = _root(error)
    if isinstance(root, PermissionError):
        return permission_message(shown(url).removeprefix("unix://"))
    return (
        f"no container engine answers at {shown(url)}: {cause_of(error)}: "
        f"start it, or correct DOCKER_HOST"
    )


def _root(error: BaseException) -> BaseException:
    """Return the innermost OSError of a chain; HTTP libraries nest it in arguments and causes."""
    inner = [item for item in error.args if isinstance(item, BaseException)]
    inner += [item for item in (error.__cause__, error.__context__) if item is not None]
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        inner.append(reason)
    for item in inner:
        root = _root(item)
        if isinstance(root, OSError) and root.errno is not None:
            return root
    return error


def cause_of(error: BaseException) -> str:
    """Return what is at the bottom of an error, in one line."""
    root = _root(error)
    text = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
    return one_line(text)[:ERROR_LENGTH] or type(error).__name__


def said_by(error: Any) -> str:
    """Return the engine's own words in an APIError."""
    return one_line(str(error.explanation or error))[:ERROR_LENGTH]
