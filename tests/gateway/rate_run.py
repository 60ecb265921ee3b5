"""A run's gateway in a process of its own, whose container makes many calls. Runs on: host.

`python -m tests.gateway.rate_run URL SHARED OWN CALLS LIMITS` prints the statuses as JSON.
"""

import asyncio
import json
import sys
from pathlib import Path

from runner.gateway.rate_limits import RateLimiter
from runner.gateway.rate_state import RateLimits
from runner.gateway.upstream import RetryPolicy
from tests.gateway.serving import route_to, run, served

PATIENT = RetryPolicy(attempts=8, max_wait_seconds=10.0, first_wait_seconds=0.1)


async def calls(url: str, shared: Path, own: Path, count: int, limits: RateLimits) -> list[int]:
    """Make `count` calls at once; return their statuses."""
    limiter = RateLimiter(shared, {"openai": limits})
    async with served(own, route_to(url), retry=PATIENT, limiter=limiter) as gateway:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        answers = await asyncio.gather(*(gateway.container.ask() for _ in range(count)))
    return [answer.status for answer in answers]


if __name__ == "__main__":
    url, shared, own, count, limits = sys.argv[1:]
    made = calls(url, Path(shared), Path(own), int(count), RateLimits(**json.loads(limits)))
    print(json.dumps(run(made)))
