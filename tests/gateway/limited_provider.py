"""A provider that takes so many calls within any window, and refuses the rest. Runs on: host."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

_ANSWER = (
    b'data: {"choices":[{"delta":{"content":"Yes."}}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":1}}\n\n'
    b"data: [DONE]\n\n"
)


class LimitedProvider:
    """Counts what it answered and refused, and how many calls it had at once."""

    def __init__(
        self, requests: int, window_seconds: float, *, answer_seconds: float = 0.0
    ) -> None:
        self._requests = requests
        self._window_seconds = window_seconds
        self._answer_seconds = answer_seconds
        self._recent: deque[float] = deque()
        self._under_way = 0
        self.answered = 0
        self.refused = 0
        self.most_at_once = 0
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["LimitedProvider"]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        await request.read()
        now = time.monotonic()
        while self._recent and now - self._recent[0] >= self._window_seconds:
            self._recent.popleft()
        if len(self._recent) >= self._requests:
            self.refused += 1
            wait = max(0.0, self._recent[0] + self._window_seconds - now)
            headers = {"retry-after-ms": str(int(wait * 1000) + 1)}
            return web.json_response(
                {"error": {"message": "slow down"}}, status=429, headers=headers
            )
        self._recent.append(now)
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            await asyncio.sleep(self._answer_seconds)
        finally:
            self._under_way -= 1
        self.answered += 1
        return web.Response(body=_ANSWER, content_type="text/event-stream")
