"""Where weights are kept and where the server's socket is. Runs on: host."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from runner.errors import ConfigurationError

APPLICATION = "massgen-runner"
# A Unix socket's address holds 108 bytes; the names below the directory need some of them.
MAX_DIRECTORY_BYTES = 80


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return the program's cache directory; raises ConfigurationError where there is no home."""
    if base := _absolute(environment.get("XDG_CACHE_HOME")):
        return base / APPLICATION
    if home := _absolute(environment.get("HOME")):
        return home / ".cache" / APPLICATION
    raise ConfigurationError(
        "no place for what is kept between runs, such as the local model's weights: set HOME, or "
        "XDG_CACHE_HOME to a directory with 1.5 GB of room"
    )


def models_directory(environment: Mapping[str, str]) -> Path:
    """Return the directory that has one directory of weights for each model."""
    return cache_directory(environment) / "models"


def server_directory(environment: Mapping[str, str]) -> Path:
    """Make and return the directory of the server's socket, locks and log, open to its user only.

    It is on this machine even where the home directory is shared between several. Raises
    ConfigurationError where someone else could get in.
    """
    if base := _absolute(environment.get("XDG_RUNTIME_DIR")):
        wanted = base / APPLICATION
        if base.is_dir() and len(os.fsencode(wanted)) <= MAX_DIRECTORY_BYTES:
            return _private(wanted)
        suffix = "-" + hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
    else:
        suffix = ""
    return _private(Path(tempfile.gettempdir()) / f"{APPLICATION}-{os.getuid()}{suffix}")


def _private(directory: Path) -> Path:
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise ConfigurationError(
            f"{directory}: the local model's socket cannot be made there: {error.strerror}: "
            "set XDG_RUNTIME_DIR to a directory of your own"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(
            f"{directory}: must be a directory that only you can enter, for the local model's "
            "socket: remove it, or set XDG_RUNTIME_DIR to a directory of your own"
        )
    return directory


def _absolute(value: str | None) -> Path | None:
    # The XDG rules: a relative path is invalid and must be ignored.
    return Path(value) if value and value.startswith("/") else None
