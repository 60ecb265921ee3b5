"""Entry point of an agent's container: serve its tools. Runs on: the agent container."""

import asyncio
import os
import sys
from pathlib import Path

from pydantic import ValidationError

from runner.contract.agent_socket import FORWARDS
from runner.contract.files import read_bytes
from runner.contract.spec import SOCKET_DIR
from runner.contract.text import one_line
from runner.contract.tools import TOOLS_DIR, TOOLS_SOCKET, TOOLS_SPEC_PATH, ToolServerSpec
from runner.tools.forwarder import forwarding
from runner.tools.server import serve

_MAX_SPEC_BYTES = 16 * 1024 * 1024


def main() -> int:
    """Serve until coordination closes the connection; return 0, or 1 with a line on stderr."""
    path = Path(os.environ.get("RUNNER_TOOLS_SPEC", TOOLS_SPEC_PATH))
    socket_path = os.environ.get("RUNNER_TOOLS_SOCKET", f"{TOOLS_DIR}/{TOOLS_SOCKET}")
    try:
        spec = ToolServerSpec.model_validate_json(
            read_bytes(path.parent, path.name, _MAX_SPEC_BYTES)
        )
        asyncio.run(_serve(spec, socket_path))
    except (OSError, ValidationError) as error:
        print(one_line(f"the tool server ends: {error}", 1000), file=sys.stderr)
        return 1
    return 0


async def _serve(spec: ToolServerSpec, socket_path: str) -> None:
    # Without the mounted directory, outside a container, there is nothing to forward to.
    async with forwarding(FORWARDS if Path(SOCKET_DIR).is_dir() else ()):
        await serve(spec, socket_path)


if __name__ == "__main__":
    sys.exit(main())
