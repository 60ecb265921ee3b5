"""Files of the user that agents may read. Runs on: host."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from runner.config.problems import shown
from runner.config.values import NOT_YET, ConfigPart, wrong
from runner.contract.text import is_plain_line


def _path(value: str) -> str:
    if not value.strip() or not is_plain_line(value):
        raise wrong(f"{shown(value)} is no path", "write path: docs/")
    return value


def _permission(value: str) -> str:
    if value == "write":
        remedy = "write permission: read; the winner's files are under final/ in the log"
        raise wrong(f"'write' is {NOT_YET} (allowed: read)", remedy)
    return value


def _inner_path(value: str) -> str:
    _path(value)
    if value.startswith("/") or ".." in value.split("/"):
        raise wrong(f"{shown(value)} leads out of the context path", "write it relative to path")
    return value


class ContextPath(ConfigPart):
    """A file or directory that agents see at the same path, read-only."""

    path: Annotated[str, Field(max_length=4096), AfterValidator(_path)]
    """Relative paths are taken from the working directory."""
    permission: Annotated[Literal["read", "write"], AfterValidator(_permission)] = "read"
    """`write`, for the winner, is not available yet."""
    protected_paths: Annotated[
        tuple[Annotated[str, Field(max_length=4096), AfterValidator(_inner_path)], ...],
        Field(strict=False),
    ] = ()
    """What no file tool changes, relative to `path`."""
