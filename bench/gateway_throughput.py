"""Measure what streaming through the run socket costs: events a second, CPU for each.

Prints JSON. The provider runs in a process of its own; gateway and reader share one, so that
`gateway_cpu` is taken from the process's time less that of reading the same bytes directly.

    python -m bench.gateway_throughput [--streams 8] [--words 20000]
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from runner.config.providers import PROVIDERS
from runner.contract.run_socket import model_path
from runner.gateway.routes import build_route
from runner.gateway.server import Gateway

MODEL = "test-model"


class Measured(NamedTuple):
    events: int
    bytes: int
    seconds: float
    cpu_seconds: float

    @property
    def figures(self) -> dict[str, float]:
        return {
            "events": self.events,
            "events_per_second": round(self.events / self.seconds),
            "megabytes": round(self.bytes / 1e6, 1),
            "seconds": round(self.seconds, 3),
            "cpu_microseconds_per_event": round(self.cpu_seconds / self.events * 1e6, 1),
        }


def _body() -> bytes:
    messages = [{"role": "user", "content": "Speak."}]
    options = {"include_usage": True}
    request = {"model": MODEL, "stream": True, "stream_options": options, "messages": messages}
    return json.dumps(request).encode()


async def _read(session: aiohttp.ClientSession, url: str) -> tuple[int, int]:
    events = size = 0
    headers = {"Content-Type": "application/json"}
    async with session.post(url, data=_body(), headers=headers) as response:
        assert response.status == 200, await response.text()
        async for chunk in response.content.iter_any():
            events += chunk.count(b"\n\n")
            size += len(chunk)
    return events, size


async def _measure(connector: aiohttp.BaseConnector, url: str, streams: int) -> Measured:
    async with aiohttp.ClientSession(connector=connector) as session:
        await _read(session, url)  # connections, imports
        began, cpu = time.perf_counter(), time.process_time()
        counts = await asyncio.gather(*(_read(session, url) for _ in range(streams)))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Measured(sum(c[0] for c in counts), sum(c[1] for c in counts), seconds, cpu)


async def _both(url: str, streams: int) -> tuple[Measured, Measured]:
    direct = await _measure(aiohttp.TCPConnector(limit=0), f"{url}/chat/completions", streams)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        route = build_route(
            "agent_a", PROVIDERS["openai"], model=MODEL, base_url=url, credential=None
        )
        async with Gateway(
            {"agent_a": route},
            socket_dir=directory,
            ledger=directory / "usage.jsonl",
            run_id="20260101-000000-0123abcd",
        ):
            connector = aiohttp.UnixConnector(str(directory / "run.sock"), limit=0)
            through = await _measure(connector, f"http://g{model_path('agent_a', 'chat')}", streams)
    return direct, through


@contextmanager
def _provider(words: int) -> Iterator[str]:
    script = {"rules": [{"replies": [_reply(words)]}]}
    code = (
        "import sys\n"
        "from tests.support.provider import Provider, Script\n"
        "with Provider(Script.from_json(sys.argv[1])) as provider:\n"
        "    print(provider.url, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, json.dumps(script)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()  # it ends with its standard input


def _reply(words: int) -> dict[str, object]:
    return {"kind": "text", "text": "word" * words, "tokens_per_chunk": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--words", type=int, default=5000)
    options = parser.parse_args()
    with _provider(options.words) as url:
        direct, through = asyncio.run(_both(url, options.streams))
    extra = (through.cpu_seconds - direct.cpu_seconds) / through.events * 1e6
    figures = {
        "streams": options.streams,
        "direct": direct.figures,
        "through_gateway": through.figures,
        "gateway_cpu_microseconds_per_event": round(extra, 1),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
