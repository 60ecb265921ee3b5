"""Files of the user that agents may read, or that the winner may change. Runs on: host."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from runner.config.problems import shown
from runner.config.values import ConfigPart, wrong
from runner.contract.text import is_plain_line


def _path(value: str) -> str:
    if not value.strip() or not is_plain_line(value):
        raise wrong(f"{shown(value)} is no path", "write path: docs/")
    return value


def _inner_path(value: str) -> str:
    _path(value)
    if value.startswith("/") or ".." in value.split("/"):
        raise wrong(f"{shown(value)} leads out of the context path", "write it relative to path")
    return value


class ContextPath(ConfigPart):
    """A file or directory that agents see at the same path, read-only while they coordinate."""

    path: Annotated[str, Field(max_length=4096), AfterValidator(_path)]
    """Relative paths are taken from the working directory."""
    permission: Literal["read", "write"] = "read"
    """`write`: the winner may change a copy, which is applied when the run has succeeded."""
    protected_paths: Annotated[
        tuple[Annotated[str, Field(max_length=4096), AfterValidator(_inner_path)], ...],
        Field(strict=False),
    ] = ()
    """What even the winner may not change, relative to `path`."""
