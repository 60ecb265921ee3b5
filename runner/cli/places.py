"""Where the commands look for runs: the working directory's `.massgen`. Runs on: host."""

from pathlib import Path

from runner.host.run_store import RunStore, store_in


def here() -> RunStore:
    """Return the runs of the working directory."""
    return store_in(Path.cwd())
