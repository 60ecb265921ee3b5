"""The real weights on the real server: downloaded once into the user's cache."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from runner.local_model.lease import Endpoint, async_local_model, local_model, stop_server
from runner.local_model.locks import is_locked
from runner.local_model.places import server_directory
from runner.local_model.server_files import ServerFiles, ServerRecord, living_server
from tests.local_model.waiting import wait_until

# The first of these tests downloads 1.1 GB.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

VOTE = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 120},
        "agent_id": {"type": "string", "enum": ["agent1", "agent2"]},
    },
    "required": ["reason", "agent_id"],
}


class Place:
    """A server directory of the test's own, with the user's cache."""

    def __init__(self, runtime: Path, idle_seconds: float) -> None:
        self.environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(runtime),
            "MASSGEN_LOCAL_MODEL_IDLE_SECONDS": str(idle_seconds),
        }
        self.files = ServerFiles(server_directory(self.environment))

    def server(self) -> ServerRecord:
        """Return the living server."""
        record = living_server(self.files)
        assert record is not None
        return record


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[Callable[[float], Place]]:
    """Return a function that makes a place with an idle time."""
    made: list[Place] = []

    def make(idle_seconds: float) -> Place:
        made.append(Place(tmp_path, idle_seconds))
        return made[-1]

    yield make
    for each in made:
        stop_server(each.environment)


async def ask(endpoint: Endpoint, place: Place, **parameters: object) -> str:
    """Return the content of the model's answer to a chat request."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(place.files.socket))) as session,
        session.post(
            "http://localhost/v1/chat/completions", json={"model": endpoint.model, **parameters}
        ) as response,
    ):
        body = await response.json()
        assert response.status == 200, body
        return str(body["choices"][0]["message"]["content"])


def question(text: str) -> list[dict[str, str]]:
    """Return the messages of a question."""
    return [{"role": "user", "content": text}]


def test_model_answers_and_votes(make_place: Callable[[float], Place]) -> None:
    """A question gets a sensible answer, and a JSON schema a decision of that form."""
    place = make_place(60)

    async def talk() -> None:
        async with async_local_model(environment=place.environment) as endpoint:
            answer = await ask(
                endpoint, place, messages=question("What is the capital of France?"), max_tokens=40
            )
            assert "Paris" in answer
            vote = await ask(
                endpoint,
                place,
                messages=question("agent1 says 2+2=4, agent2 says 2+2=5. Who is right?"),
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "vote", "schema": VOTE},
                },
            )
            assert json.loads(vote)["agent_id"] in {"agent1", "agent2"}

    asyncio.run(talk())


def test_second_run_uses_the_server_of_the_first(make_place: Callable[[float], Place]) -> None:
    """Runs at the same time, and soon after one another, share one process."""
    place = make_place(60)
    with local_model(environment=place.environment) as one:
        first = place.server()
        with local_model(environment=place.environment) as two:
            assert one == two
    with local_model(environment=place.environment):
        assert first == place.server()


def test_unused_server_ends_by_itself(make_place: Callable[[float], Place]) -> None:
    """After its idle time the server is gone, with its socket; the next run starts another."""
    place = make_place(0.2)
    with local_model(environment=place.environment):
        first = place.server()
    wait_until(lambda: not is_locked(place.files.server_lock), "the server ends", 60)
    assert not place.files.socket.exists()
    with local_model(environment=place.environment):
        assert first.pid != place.server().pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_dead_or_hung_server_is_replaced(
    make_place: Callable[[float], Place], number: signal.Signals
) -> None:
    """A run after the server was killed, or hangs, gets a new one that answers."""
    place = make_place(60)
    with local_model(environment=place.environment):
        first = place.server()
    os.kill(first.pid, number)
    with local_model(environment=place.environment) as endpoint:
        assert first.pid != place.server().pid
        answer = asyncio.run(ask(endpoint, place, messages=question("Say yes."), max_tokens=5))
        assert answer


def test_stop_ends_the_server(make_place: Callable[[float], Place]) -> None:
    """`stop_server` ends the process at once and says that there was one."""
    place = make_place(60)
    with local_model(environment=place.environment):
        pass
    assert stop_server(place.environment)
    assert not is_locked(place.files.server_lock)
    assert not stop_server(place.environment)
