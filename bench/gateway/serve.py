"""A gateway in a process of its own, until SIGTERM. Runs on: host.

    python -m bench.gateway.serve DIRECTORY PROVIDER_URL [--budget-usd 1000] [--agent-socket]

Its socket is DIRECTORY/run.sock, its only agent `agent_a`, whose own socket is beside it.
"""

import argparse
import asyncio
import signal
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

from bench.gateway import MODEL
from runner.config.providers import PROVIDERS
from runner.gateway.books import NO_BUDGET, Budget
from runner.gateway.budget import Limits, picousd
from runner.gateway.credentials import Credential
from runner.gateway.pricing import find_price
from runner.gateway.routes import Route, build_route
from runner.gateway.server import NO_PRICES, Gateway

_PROVIDER = PROVIDERS["openai"]


def _route(url: str) -> Route:
    key = Credential("sk-bench-0123456789abcdef", variable="BENCH_KEY", source="the benchmark")
    return build_route("agent_a", _PROVIDER, model=MODEL, base_url=url, credential=key)


async def _serve(
    directory: Path, url: str, budget_usd: Decimal | None, *, agent_socket: bool
) -> None:
    prices, budget = NO_PRICES, NO_BUDGET
    if budget_usd is not None:
        price = find_price(_PROVIDER, MODEL, {})
        assert price is not None, f"{MODEL} is in the price list"
        prices = {"agent_a": price}
        budget = Budget(Limits(picousd=picousd(budget_usd)))
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    gateway = Gateway(
        {"agent_a": _route(url)},
        socket_dir=directory,
        ledger=directory / "usage.jsonl",
        run_id="20260101-000000-0123abcd",
        prices=prices,
        budget=budget,
    )
    async with gateway, AsyncExitStack() as stack:
        if agent_socket:
            await stack.enter_async_context(gateway.agent_socket("agent_a", directory))
        await over.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway.serve")
    parser.add_argument("directory", type=Path)
    parser.add_argument("provider_url")
    parser.add_argument("--budget-usd", type=Decimal)
    parser.add_argument("--agent-socket", action="store_true")
    given = parser.parse_args()
    asyncio.run(
        _serve(
            given.directory,
            given.provider_url,
            given.budget_usd,
            agent_socket=given.agent_socket,
        )
    )


if __name__ == "__main__":
    main()
