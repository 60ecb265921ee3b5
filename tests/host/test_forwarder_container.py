"""An agent's model, called from a container of the run image that has no network."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.contract.spec import SOCKET_DIR
from runner.host.container_spec import ContainerUser, Limits, bind, hardened
from runner.host.engine import Engine
from runner.host.run_containers import containers_user
from tests.gateway.serving import route_to, run, served
from tests.host.containers import Containers
from tests.support.provider import Provider, Script, Text

pytestmark = pytest.mark.docker

PROGRAM = """
import http.client, json, socket, time
deadline = time.monotonic() + 30
while True:
    try:
        socket.create_connection(("127.0.0.1", 8700)).close()
        break
    except ConnectionRefusedError:
        assert time.monotonic() < deadline
        time.sleep(0.01)
connection = http.client.HTTPConnection("127.0.0.1", 8700)
connection.request("GET", "/v1/models")
model = json.load(connection.getresponse())["data"][0]["id"]
body = {"model": model, "messages": [{"role": "user", "content": "What is the answer?"}]}
connection.request("POST", "/v1/chat/completions", json.dumps(body))
print(json.load(connection.getresponse())["choices"][0]["message"]["content"])
outside = socket.socket()
print(outside.connect_ex(("192.0.2.1", 443)) != 0)
"""


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """Return a directory that the container's user may enter."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "socket"
        directory.mkdir(mode=0o755)
        yield directory


def test_a_program_in_a_container_calls_its_model(
    containers: Containers, engine: Engine, tmp_path: Path, socket_dir: Path
) -> None:
    """Plain HTTP to the loopback gets an answer of the model where there is no network at all."""
    user = containers_user(engine.info())

    async def scenario(provider: Provider) -> tuple[int, str]:
        async with (
            served(tmp_path, route_to(provider.url)) as it,
            it.gateway.agent_socket("agent_a", socket_dir, user.host_uid),
        ):
            return await asyncio.to_thread(ended, containers, user, socket_dir)

    with Provider(Script.always(Text("forty-two"))) as provider:
        code, log = run(scenario(provider))
    assert (code, log.splitlines()) == (0, ["forty-two", "True"])


def ended(containers: Containers, user: ContainerUser, socket_dir: Path) -> tuple[int, str]:
    """Run the forwarder and the program as an agent's container does; return code and log."""
    python = "/opt/runner/venv/bin/python -P -B"
    command = f'{python} -m runner.tools.forwarder & exec {python} -c "$0"'
    config = {"User": user.user, "NetworkDisabled": True}  # as agent_container_spec has it
    mounts = [bind(socket_dir, SOCKET_DIR, read_only=True)]
    host = hardened(user, Limits(256 * 2**20, 1.0, 64), mounts, {"/tmp": "rw"})
    return containers.run("/bin/sh", "-c", command, PROGRAM, config=config, **host)
