"""The container engine, on the real one."""

import os
import secrets
import socketserver
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import docker
import pytest

from runner.errors import EngineError, ExecutionError
from runner.host.engine import (
    LOG_LIMIT_BYTES,
    ContainerMissingError,
    Engine,
    EngineGoneError,
    connect,
    find_engine,
)
from runner.host.engine_messages import shown
from runner.host.engine_records import split_tag
from tests.host.containers import LABEL, Containers, eventually

pytestmark = pytest.mark.docker
MISSING = "0" * 64


@contextmanager
def paused(container: str) -> Iterator[None]:
    """Pause a container by a client of the test's own."""
    client = docker.DockerClient(base_url=find_engine(os.environ))
    try:
        client.containers.get(container).pause()
        yield
    finally:
        client.close()


def test_the_engine_says_what_it_is(engine: Engine) -> None:
    """Name, version, API version and URL of the engine are known."""
    engine.ping()
    info = engine.info()
    assert info.name in {"docker", "podman"}
    assert info.version[0].isdigit()
    assert info.api_version[0].isdigit()
    assert info.cgroup_version in {"1", "2"}
    assert engine.url == info.url


def test_a_container_lives_and_ends(containers: Containers) -> None:
    """Create, start, wait, inspect, logs and remove tell one consistent story."""
    engine = containers.engine
    container = containers.create("sh", "-c", "echo out; echo err >&2; exit 7")
    created = containers.state(container)
    assert (created.status, created.exit_code) == ("created", None)
    engine.start(container)
    assert engine.wait(container) == 7
    ended = containers.state(container)
    assert (ended.status, ended.running, ended.exit_code) == ("exited", False, 7)
    assert not ended.oom_killed
    # Not compared with each other: the engine notes them by two clocks.
    assert not ended.started_at.startswith("0001-")
    assert not ended.finished_at.startswith("0001-")
    assert sorted(engine.logs(container).splitlines()) == ["err", "out"]
    engine.remove(container)
    assert engine.inspect(container) is None


def test_a_missing_image_names_the_command_that_builds_it(containers: Containers) -> None:
    """Creating from an image that is not there is an error with its remedy."""
    with pytest.raises(EngineError, match="massgen-runner image build"):
        containers.create("true", image=f"massgen-runner/none:{secrets.token_hex(4)}")


def test_a_body_that_the_engine_refuses_is_a_configuration_error(containers: Containers) -> None:
    """A container that the engine cannot accept is an EngineError in the engine's own words."""
    with pytest.raises(EngineError, match="refuses the container"):
        containers.create("true", Memory=1)


def test_a_command_that_does_not_exist_fails_at_start(containers: Containers) -> None:
    """Starting a container without its program says which."""
    with pytest.raises(ExecutionError, match="no-such-program"):
        containers.start("/no-such-program")


def test_a_name_is_given_once(containers: Containers) -> None:
    """A second container of one name is refused as such."""
    config = {"Entrypoint": ["true"], "Labels": {LABEL: containers.label}}
    name = f"runner-test-{secrets.token_hex(8)}"
    containers.engine.create(name, containers.image, config)
    with pytest.raises(ExecutionError, match=name):
        containers.engine.create(name, containers.image, config)


def test_running_out_of_memory_is_visible(containers: Containers) -> None:
    """A container over its memory limit ends with 137 and says that it was for memory."""
    limit = 64 * 1024 * 1024
    script = "x = bytearray(512 * 1024 * 1024)"
    container = containers.start("python3", "-c", script, Memory=limit, MemorySwap=limit)
    assert containers.engine.wait(container) == 137
    assert containers.state(container).oom_killed


def test_waiting_ends_when_the_container_is_killed(containers: Containers) -> None:
    """A wait in one thread returns 137 when another thread kills the container."""
    container = containers.start("sleep", "600")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(containers.engine.wait, container)
        containers.engine.kill(container)
        assert waiting.result(timeout=30) == 137
    assert not containers.state(container).oom_killed


def test_waiting_ends_when_the_container_is_removed(containers: Containers) -> None:
    """A wait ends, and does not hang, when somebody removes the running container."""
    container = containers.start("sleep", "600")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(containers.engine.wait, container)
        containers.engine.remove(container)
        try:
            code = waiting.result(timeout=30)
        except ContainerMissingError:
            return  # removed before the request arrived
    assert code == 137


def test_a_paused_container_is_killed(containers: Containers) -> None:
    """Kill gets a paused container going first, so that the signal arrives."""
    container = containers.start("sleep", "600")
    with paused(container):
        assert containers.state(container).paused
        containers.engine.kill(container)
        assert containers.engine.wait(container) == 137


def test_a_container_is_held_still_and_let_go(containers: Containers) -> None:
    """Pause and unpause do what they say, twice too, and a dead container is still anyway."""
    engine = containers.engine
    container = containers.start("sleep", "600")
    for _ in range(2):
        engine.pause(container)
        assert containers.state(container).paused
    for _ in range(2):
        engine.unpause(container)
        assert not containers.state(container).paused
    engine.kill(container)
    engine.wait(container)
    engine.pause(container)
    engine.unpause(container)


def test_a_wait_outlasts_the_deadline_of_other_requests(containers: Containers) -> None:
    """A connection whose requests may take a second still waits for a container to its end."""
    container = containers.start("sh", "-c", "sleep 2; exit 4")
    with connect(os.environ, timeout=1) as engine:
        assert engine.wait(container) == 4


def test_a_signal_other_than_kill_is_sent(containers: Containers) -> None:
    """SIGTERM reaches the program, which can end in its own way."""
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    container = containers.start("sh", "-c", script)
    eventually(lambda: "ready" in containers.engine.logs(container))
    containers.engine.kill(container, "SIGTERM")
    assert containers.engine.wait(container) == 5


def test_killing_what_does_not_run_is_fine(containers: Containers) -> None:
    """Kill of a created, an ended and a missing container does nothing."""
    engine = containers.engine
    container = containers.create("true")
    engine.kill(container)
    engine.start(container)
    engine.wait(container)
    engine.kill(container)
    engine.kill(MISSING)


def test_removing_is_final_and_repeatable(containers: Containers) -> None:
    """A running container is removed, and removing it again or one that never was is fine."""
    container = containers.start("sleep", "600")
    for _ in range(2):
        containers.engine.remove(container)
    containers.engine.remove(MISSING)
    assert containers.engine.inspect(container) is None


def test_waiting_for_a_missing_container_is_an_error() -> None:
    """A wait for a container that does not exist says so at once."""
    with connect(os.environ) as engine, pytest.raises(ContainerMissingError):
        engine.wait(MISSING)


def test_a_log_is_cut_to_its_end(containers: Containers) -> None:
    """A huge log yields its last bytes only, whatever bytes they are."""
    script = "yes 0123456789012345678901234567890123456789 | head -c 3000000; printf '\\n\\377end'"
    container = containers.start("sh", "-c", script)
    containers.engine.wait(container)
    log = containers.engine.logs(container, tail=100_000)
    assert len(log) <= LOG_LIMIT_BYTES
    assert log.rstrip().endswith("�end")
    assert len(containers.engine.logs(container, tail=3).splitlines()) == 3


def test_containers_are_listed_by_labels(containers: Containers) -> None:
    """All containers with a label are found, also ended ones, and others are not."""
    engine = containers.engine
    running = containers.start("sleep", "600")
    ended = containers.start("true")
    engine.wait(ended)
    found = {item.id: item for item in engine.list({LABEL: containers.label})}
    assert {running, ended} == set(found)
    assert found[running].state == "running"
    assert found[ended].state == "exited"
    assert found[ended].labels[LABEL] == containers.label
    assert found[ended].name.startswith("runner-test-")
    assert found[ended].created > 1_000_000_000
    assert {running, ended} <= {item.id for item in engine.list({LABEL: None})}
    assert not engine.list({LABEL: "another value"})


def test_calls_from_many_threads_do_not_disturb_each_other(containers: Containers) -> None:
    """One connection serves concurrent waits and inspections."""
    with ThreadPoolExecutor(12) as pool:
        codes = list(pool.map(lambda n: containers.run("sh", "-c", f"exit {n}")[0], range(12)))
    assert list(range(12)) == codes


def test_a_pull_that_fails_is_an_error(engine: Engine) -> None:
    """An image that cannot be pulled is named together with what the engine says."""
    with pytest.raises(EngineError, match=r"localhost:1/none:1 cannot be pulled: \S+"):
        engine.pull("localhost:1/none:1", print)


def test_a_socket_without_permission_is_an_error_with_a_remedy(short_path: Path) -> None:
    """A user who may not use the engine's socket is told about its group."""
    path = short_path / "docker.sock"
    with socketserver.UnixStreamServer(str(path), socketserver.BaseRequestHandler):
        path.chmod(0)
        problem = as_nobody(lambda: connect({"DOCKER_HOST": f"unix://{path}"}))
    assert f"{path}: permission denied" in problem
    assert "group" in problem


class _DroppingEngine(BaseHTTPRequestHandler):
    """Tells its version, and hangs up on everything else, as an engine that is being stopped."""

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the test's output is for its failure."""

    def do_GET(self) -> None:
        body = b'{"ApiVersion": "1.41"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True


def test_a_connection_lost_while_waiting_is_told_apart(short_path: Path) -> None:
    """An engine that goes away during a wait raises EngineGoneError that names it."""
    path = short_path / "docker.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), _DroppingEngine) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            lost = pytest.raises(EngineGoneError, match=f"{path} does not answer")
            with connect({"DOCKER_HOST": f"unix://{path}"}) as engine, lost:
                engine.wait(MISSING)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("name", ("name", None)),
        ("name:1", ("name", "1")),
        ("host:5000/name", ("host:5000/name", None)),
        ("host:5000/name:1", ("host:5000/name", "1")),
        ("name@sha256:00", ("name", "sha256:00")),
    ],
)
def test_a_reference_is_split(reference: str, expected: tuple[str, str | None]) -> None:
    """Name and tag or digest are told apart, also where the registry has a port."""
    assert expected == split_tag(reference)


def test_a_password_in_an_address_is_not_shown() -> None:
    """The URL in messages has no user and password."""
    assert shown("tcp://me:secret@host:2375") == "tcp://host:2375"


def as_nobody(action: Callable[[], object]) -> str:
    """Return the message of the EngineError that `action` raises for a user without rights."""
    if os.geteuid() != 0:
        with pytest.raises(EngineError) as caught:
            action()
        return str(caught.value)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            action()
        except BaseException as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return pipe.read()
