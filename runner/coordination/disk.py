"""What a disk refuses, in the run's own errors. Runs on: the run container."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import DiskFullError, ExecutionError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Turn an OSError into DiskFullError or ExecutionError, which name the file and the reason."""
    try:
        yield
    except OSError as error:
        name = error.filename or what
        if error.errno in NO_ROOM:
            raise DiskFullError(f"disk full: {name} could not be written") from error
        raise ExecutionError(f"{name} could not be written: {error.strerror}") from error
