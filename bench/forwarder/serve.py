"""A forwarder in a process of its own, until SIGTERM. Runs on: host.

python -m bench.forwarder.serve SOCKET PORT
"""

import argparse
import asyncio
import signal

from runner.contract.agent_socket import Forward
from runner.tools.forwarder import forwarding


async def _serve(forward: Forward) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    async with forwarding([forward]):
        await over.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.forwarder.serve")
    parser.add_argument("socket")
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    asyncio.run(_serve(Forward(given.port, given.socket)))


if __name__ == "__main__":
    main()
