"""Look names up without holding anything else up. Runs on: host.

asyncio's own look-ups share a handful of threads with all of the process. An agent that asks for
names whose servers never answer would take them all, and each would be waited for at the end.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a name, for a port; raises OSError where it has none."""
MAX_LOOKUPS = 8


class Lookups:
    """The system's resolver, asked by at most eight threads at once, for which nobody waits."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_LOOKUPS)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name. Raises OSError."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()

        def settle(addresses: Sequence[str], error: OSError | None) -> None:
            self._places.release()
            if found.done():
                return  # nobody waits any more
            if error is None:
                found.set_result(addresses)
            else:
                found.set_exception(error)

        def look_up() -> None:
            addresses: Sequence[str] = ()
            failed: OSError | None = None
            try:
                addresses = _addresses(host, port)
            except (OSError, UnicodeError) as error:
                failed = error if isinstance(error, OSError) else OSError(str(error))
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, addresses, failed)

        threading.Thread(target=look_up, name="lookup", daemon=True).start()
        return await found


def _addresses(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
