"""What the run container loads, and so what its image needs and its start costs. Runs on: host."""

import subprocess
import sys


def test_the_container_loads_neither_host_libraries_nor_a_server() -> None:
    """pydantic and aiohttp's client are all; anything else would slow every start down."""
    script = "import runner.coordination.process, sys; print('\\n'.join(sys.modules))"
    listed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    loaded = set(listed.stdout.decode().split())

    unwanted = {"docker", "yaml", "click", "rich", "tenacity", "watchfiles", "aiohttp.web"}
    assert loaded & unwanted == set()
    ours = {name.split(".")[1] for name in loaded if name.startswith("runner.")}
    assert ours == {"contract", "coordination", "errors"}
