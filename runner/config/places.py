"""Where a user's own files are. Runs on: host."""

import os
from collections.abc import Mapping
from pathlib import Path


def user_directory(environ: Mapping[str, str]) -> Path | None:
    """Return `~/.config/massgen`, or what XDG_CONFIG_HOME says; None where no home is known."""
    config_home = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(config_home):  # the XDG specification: a relative path is ignored
        home = environ.get("HOME", "")
        if not os.path.isabs(home):
            return None
        config_home = f"{home}/.config"
    return Path(config_home) / "massgen"
