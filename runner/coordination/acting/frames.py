"""Frames out of a stream that may be hostile. Runs on: the run container.

The loop is left after every piece of at most 64 KB, so a flood of small frames holds up nobody;
the stream's own flow control makes the other side wait.
"""

import asyncio
from collections.abc import AsyncIterator

READ_BYTES = 64 * 1024


class FrameError(Exception):
    """What was said is no frame of the protocol."""


async def frames(reader: asyncio.StreamReader, max_bytes: int) -> AsyncIterator[bytearray]:
    """Yield each line without its newline until the stream ends; half a line at its end is dropped.

    Raises FrameError for a line over `max_bytes`, OSError where the stream breaks.
    """
    held = bytearray()
    while piece := await reader.read(READ_BYTES):
        first, *rest = piece.split(b"\n")
        held += first
        for start in rest:
            yield _checked(held, max_bytes)
            held = bytearray(start)
        _checked(held, max_bytes)
        await asyncio.sleep(0)


def _checked(line: bytearray, max_bytes: int) -> bytearray:
    if len(line) >= max_bytes:
        raise FrameError(f"a frame is longer than {max_bytes} bytes")
    return line
