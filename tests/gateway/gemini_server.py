"""A server that answers as Gemini's own API does, and remembers what it was asked. Runs on: host.

After https://ai.google.dev/api/generate-content.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

TEXTS = ("forty", "-two", ", as always")
USAGE = {
    "promptTokenCount": 300,
    "cachedContentTokenCount": 100,
    "candidatesTokenCount": 20,
    "thoughtsTokenCount": 7,
    "totalTokenCount": 327,
}


class GeminiServer:
    """Says `texts` to every call; in a stream, each when `may_go_on` has been set for it."""

    def __init__(self, texts: Sequence[str] = TEXTS) -> None:
        self.texts = texts
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        """Path with query, headers and body of each."""
        self.gates = [asyncio.Event() for _ in texts]
        self.url = ""

    def release(self) -> None:
        """Hold nothing back."""
        for gate in self.gates:
            gate.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a call to its end."""
        self.requests.append((request.path_qs, dict(request.headers), await request.json()))
        if request.match_info["method"] == "generateContent":
            return web.json_response(_report("".join(self.texts), is_last=True))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for text, gate in zip(self.texts, self.gates, strict=True):
            await gate.wait()
            report = _report(text, is_last=text == self.texts[-1])
            await response.write(b"data: " + json.dumps(report).encode() + b"\r\n\r\n")
        await response.write_eof()
        return response


def _report(text: str, *, is_last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {
        "content": {"parts": [{"text": text}], "role": "model"},
        "index": 0,
    }
    if is_last:
        candidate["finishReason"] = "STOP"
    usage = USAGE if is_last else {"promptTokenCount": 300, "totalTokenCount": 300}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "test"}


@asynccontextmanager
async def gemini_server() -> AsyncIterator[GeminiServer]:
    """Serve on a port of the loopback while in the block."""
    server = GeminiServer()
    app = web.Application()
    app.router.add_post("/v1beta/models/{model}:{method}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
