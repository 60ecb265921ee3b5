"""Calls on one key, over all runs of a user, start no faster than the provider allows."""

import asyncio
import json
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.gateway.rate_limits import RateLimiter
from runner.gateway.rate_state import RateLimits, RateState
from runner.gateway.upstream import RetryPolicy
from tests.gateway.limited_provider import LimitedProvider
from tests.gateway.serving import route_to, run, served

PATIENT = RetryPolicy(attempts=8, max_wait_seconds=10.0, first_wait_seconds=0.05)
EMPTY = RateState(boot_id="boot")


class Runs:
    """Processes that share a directory of limits, each with a gateway of its own."""

    def __init__(self, url: str, root: Path, **limits: float) -> None:
        self._url = url
        self._root = root
        self._limits = json.dumps(limits)
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self, count: int, *, calls: int) -> None:
        """Start processes and wait until all are ready to call."""
        started = [await self._start(calls) for _ in range(count)]
        for process in started:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"

    async def _start(self, calls: int) -> asyncio.subprocess.Process:
        own = self._root / f"run-{len(self.processes)}"
        own.mkdir()
        arguments = [self._url, str(self._root / "shared"), str(own), str(calls), self._limits]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.gateway.rate_run",
            *arguments,
            cwd=Path(__file__).parents[2],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.processes.append(process)
        return process

    async def statuses(self) -> list[list[int]]:
        """Let all call at once; return the statuses of each."""
        outputs = await asyncio.gather(*(p.communicate(b"\n") for p in self.processes))
        return [json.loads(out) for out, _ in outputs]

    def end(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()


@pytest.mark.slow
def test_twenty_runs_at_once(tmp_path: Path) -> None:
    """Twenty runs against a server with a limit all finish, with next to no refusal."""

    async def scenario() -> None:
        async with LimitedProvider(60, 6.0).serving() as provider:
            runs = Runs(provider.url, tmp_path, requests=60, window_seconds=6.0)
            try:
                await runs.start(20, calls=10)
                found = await runs.statuses()
            finally:
                runs.end()
            assert found == [[200] * 10] * 20
            assert provider.answered == 200
            # Without a common limit at least 140 are: all but the first sixty, and their repeats.
            # A busy machine delays some calls into another window than they were counted in.
            assert provider.refused <= 40

    asyncio.run(scenario())


def test_a_killed_run_frees_its_places(tmp_path: Path) -> None:
    """After kill -9 the places of a run's calls are free for others."""

    async def scenario() -> None:
        async with LimitedProvider(1000, 1.0, answer_seconds=600).serving() as provider:
            runs = Runs(provider.url, tmp_path, concurrency=2)
            try:
                await runs.start(1, calls=2)
                [process] = runs.processes
                assert process.stdin is not None
                process.stdin.write(b"\n")
                async with asyncio.timeout(30):
                    while provider.most_at_once < 2:
                        await asyncio.sleep(0.01)
                limiter = RateLimiter(tmp_path / "shared", {"openai": RateLimits(concurrency=2)})
                waiting = asyncio.create_task(_placed(limiter, provider.url))
                done, _ = await asyncio.wait({waiting}, timeout=0.3)
                assert not done
                process.kill()
                async with asyncio.timeout(30):
                    await waiting
            finally:
                runs.end()

    asyncio.run(scenario())


async def _placed(limiter: RateLimiter, url: str) -> None:
    async with limiter.place(route_to(url), b""):
        pass


def test_calls_at_once(tmp_path: Path) -> None:
    """No more calls than allowed are under way at once, and all are answered."""

    async def scenario() -> None:
        async with LimitedProvider(1000, 1.0, answer_seconds=0.02).serving() as provider:
            limits = {"openai": RateLimits(concurrency=3)}
            async with AsyncExitStack() as stack:
                asked = []
                for name in ("one", "two"):
                    (tmp_path / name).mkdir()
                    limiter = RateLimiter(tmp_path / "shared", limits)
                    route = route_to(provider.url)
                    gateway = await stack.enter_async_context(
                        served(tmp_path / name, route, limiter=limiter)
                    )
                    asked += [gateway.container.ask() for _ in range(10)]
                answers = await asyncio.gather(*asked)
            assert Counter(answer.status for answer in answers) == {200: 20}
            assert provider.most_at_once <= 3

    run(scenario())


def test_a_refusal_slows_everybody(tmp_path: Path) -> None:
    """After one run's 429 the others on that key wait too; another key does not.

    No limit is configured: it is learned.
    """

    async def scenario() -> None:
        refused, other = RateLimiter(tmp_path), RateLimiter(tmp_path)
        route = route_to("http://127.0.0.1:9/v1")
        async with refused.place(route, b"") as place:
            await place.refused(600.0)
        waiting = asyncio.create_task(_placed(other, "http://127.0.0.1:9/v1"))
        elsewhere = route_to("http://127.0.0.1:9/v1", key="another-key-0123456789")
        async with other.place(elsewhere, b""), asyncio.timeout(10):
            pass
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done
        waiting.cancel()  # a call that is given up does not wait to the end
        async with asyncio.timeout(10):
            await asyncio.wait({waiting})
        assert waiting.cancelled()

    asyncio.run(scenario())


def test_without_known_limits_a_burst_is_not_refused_over_and_over(tmp_path: Path) -> None:
    """Against a limit that nobody has configured all calls finish, with few refusals a call."""

    async def scenario() -> None:
        async with LimitedProvider(10, 1.0).serving() as provider:
            limiter = RateLimiter(tmp_path / "shared")
            route = route_to(provider.url)
            async with served(tmp_path, route, retry=PATIENT, limiter=limiter) as gateway:
                answers = await asyncio.gather(*(gateway.container.ask() for _ in range(40)))
            assert Counter(answer.status for answer in answers) == {200: 40}
            assert provider.refused < 80

    run(scenario())


def test_waiting_is_no_stall_and_no_attempt(tmp_path: Path) -> None:
    """A call that waits longer than the stall limit is answered at its first attempt."""

    async def scenario() -> None:
        async with LimitedProvider(1000, 1.0).serving() as provider:
            limiter = RateLimiter(
                tmp_path / "shared", {"openai": RateLimits(requests=1, window_seconds=1.2)}
            )
            async with served(
                tmp_path, route_to(provider.url), stall_timeout_seconds=0.8, limiter=limiter
            ) as gateway:
                answers = await asyncio.gather(*(gateway.container.ask() for _ in range(3)))
            assert [answer.status for answer in answers] == [200, 200, 200]
            attempts = [r["attempts"] for r in gateway.records() if r.get("attempts")]
            assert set(attempts) == {1}

    run(scenario())


def test_no_key_is_written(tmp_path: Path) -> None:
    """The shared files are the user's alone, and neither names nor contents hold the key."""
    key = "planted-0123456789-planted"

    async def scenario() -> None:
        limiter = RateLimiter(tmp_path / "shared", {"openai": RateLimits(requests=5)})
        async with limiter.place(route_to("http://127.0.0.1:9/v1", key=key), b""):
            pass

    asyncio.run(scenario())
    found = list((tmp_path / "shared").rglob("*"))
    assert found
    for path in found:
        assert key not in str(path)
        assert path.stat().st_mode & 0o077 == 0
        assert path.is_dir() or key not in path.read_text()


@pytest.mark.parametrize("content", ["", "{", "null", '{"boot_id": "x", "started": [1]}', "\0" * 9])
def test_a_broken_file_is_begun_anew(tmp_path: Path, content: str) -> None:
    """What a killed process left half-written does not keep others from calling."""

    async def scenario() -> None:
        limiter = RateLimiter(tmp_path, {"openai": RateLimits(requests=5)})
        async with limiter.place(route_to("http://127.0.0.1:9/v1"), b""):
            [state] = tmp_path.rglob("state.json")
        state.write_text(content)
        async with asyncio.timeout(10), limiter.place(route_to("http://127.0.0.1:9/v1"), b""):
            assert json.loads(state.read_text())["started"][0]["requests"] == 1

    asyncio.run(scenario())


@given(
    asked=st.lists(st.tuples(st.floats(0, 40), st.integers(0, 60)), max_size=60),
    requests=st.integers(1, 8),
    tokens=st.integers(20, 100),
)
def test_no_window_holds_too_much(
    asked: list[tuple[float, int]], requests: int, tokens: int
) -> None:
    """Whenever calls come, no window has more calls or tokens than allowed, in order of asking.

    A call that is larger than the limit by itself is alone in its window.
    """
    limits = RateLimits(requests=requests, tokens=tokens, window_seconds=6.0)
    state, now = EMPTY, 1000.0
    starts: list[tuple[float, int]] = []
    for pause, size in asked:
        now += pause
        state, start = state.with_start(limits, now, size)
        assert start >= now
        starts.append((start, size))
    times = [start for start, _ in starts]
    assert times == sorted(times)
    for first in times:
        inside = [size for start, size in starts if first <= start <= first + 6.0]
        assert len(inside) <= requests
        assert sum(inside) <= tokens or len(inside) == 1


def test_what_is_given_back_is_free_again() -> None:
    """A call that was given up makes room, and a call's true size replaces what was thought."""
    limits = RateLimits(requests=1, tokens=100)
    state, start = EMPTY.with_start(limits, 1000.0, 10)
    assert state.with_start(limits, 1000.0, 10)[1] > 1059
    assert state.without_start(limits, start, 10).with_start(limits, 1000.0, 10)[1] == 1000.0
    wide = RateLimits(requests=9, tokens=100)
    state, start = EMPTY.with_start(wide, 1000.0, 10)
    assert state.with_start(wide, 1000.0, 90)[1] == 1000.0
    assert state.with_tokens(wide, start, 5).with_start(wide, 1000.0, 90)[1] > 1059


@pytest.mark.parametrize(
    "limits",
    [RateLimits(requests=1, window_seconds=0.3), RateLimits(concurrency=1)],
    ids=["rate", "concurrency"],
)
def test_runs_take_turns(tmp_path: Path, limits: RateLimits) -> None:
    """A run with one call does not wait for all twenty that another has asked for before."""
    order: list[str] = []

    async def placed(limiter: RateLimiter, name: str) -> None:
        async with limiter.place(route_to("http://127.0.0.1:9/v1"), b""):
            order.append(name)
            await asyncio.sleep(0.1)

    async def scenario() -> None:
        many, one = (RateLimiter(tmp_path, {"openai": limits}) for _ in range(2))
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(placed(many, "many")) for _ in range(20)]
            async with asyncio.timeout(30):
                while not order:
                    await asyncio.sleep(0.01)
                await placed(one, "one")
            for task in waiting:
                task.cancel()

    asyncio.run(scenario())
    assert order.index("one") <= 5
