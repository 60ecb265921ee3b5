"""Follow a status.json through the mount. Runs on: host.

File-change events say when to look; a slow poll is the net for mounts that send none.
"""

from collections.abc import AsyncIterator
from pathlib import Path

from runner.contract.log_layout import LogLayout
from runner.contract.status import Status
from runner.host.closing import read_status

SLOW_POLL_MILLISECONDS = 5_000
_SETTLE_MILLISECONDS = 50


async def changes(directory: Path) -> AsyncIterator[None]:
    """Yield whenever something in `directory` may have changed, at once for the first time."""
    from watchfiles import awatch

    yield
    async for _ in awatch(
        directory,
        recursive=False,
        debounce=_SETTLE_MILLISECONDS,
        step=_SETTLE_MILLISECONDS,
        rust_timeout=SLOW_POLL_MILLISECONDS,
        yield_on_timeout=True,
        watch_filter=None,
    ):
        yield


async def follow_status(log: LogLayout) -> AsyncIterator[Status]:
    """Yield each new readable state of status.json; the caller decides when it has seen enough."""
    last = 0.0
    async for _ in changes(log.root):
        status = read_status(log)
        if status is not None and status.meta.last_updated != last:
            last = status.meta.last_updated
            yield status
