"""Finding the container engine."""

import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.errors import EngineError
from runner.host.engine import connect, find_engine
from runner.host.engine_address import engine_directory, locate


@contextmanager
def served(path: Path) -> Iterator[None]:
    """Serve a Unix socket at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield


def home(short_path: Path, **more: str) -> dict[str, str]:
    """Return an environment in which no engine but the test's own can be found by a variable."""
    return {"HOME": str(short_path), "XDG_RUNTIME_DIR": str(short_path / "runtime"), **more}


def write_context(short_path: Path, name: str, url: str) -> None:
    """Write a docker context as the docker CLI does."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = short_path / ".docker" / "contexts" / "meta" / digest / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": url}}}))


def test_docker_host_is_taken_as_it_is(short_path: Path) -> None:
    """DOCKER_HOST wins over everything, also where nobody answers."""
    assert find_engine(home(short_path, DOCKER_HOST="unix:///nowhere")) == "unix:///nowhere"


def test_the_current_context_comes_next(short_path: Path) -> None:
    """The context that the docker configuration names as current is used."""
    path = short_path / "context.sock"
    write_context(short_path, "mine", f"unix://{path}")
    (short_path / ".docker" / "config.json").write_text('{"currentContext": "mine"}')
    with served(path):
        assert find_engine(home(short_path)) == f"unix://{path}"


def test_a_chosen_context_must_exist(short_path: Path) -> None:
    """DOCKER_CONTEXT that names no context is an error, not another engine."""
    with pytest.raises(EngineError, match="'gone', which does not exist"):
        find_engine(home(short_path, DOCKER_CONTEXT="gone"))


def test_a_chosen_context_is_found(short_path: Path) -> None:
    """DOCKER_CONTEXT selects a context of the docker configuration."""
    write_context(short_path, "other", "tcp://127.0.0.1:2375")
    assert find_engine(home(short_path, DOCKER_CONTEXT="other")) == "tcp://127.0.0.1:2375"


def test_tls_files_of_a_context_are_found(short_path: Path) -> None:
    """A context with TLS files brings their directory along."""
    write_context(short_path, "tls", "tcp://127.0.0.1:2376")
    digest = hashlib.sha256(b"tls").hexdigest()
    certificates = short_path / ".docker" / "contexts" / "tls" / digest / "docker"
    certificates.mkdir(parents=True)
    assert certificates == locate(home(short_path, DOCKER_CONTEXT="tls")).certificates


def test_an_engine_started_by_the_scripts_is_found(short_path: Path) -> None:
    """The socket in the state directory is found when no other engine answers before it."""
    environ = home(short_path)
    directory = engine_directory(environ)
    assert short_path / ".local" / "state" / "massgen-runner" / "engine" == directory
    assert directory is not None
    with served(directory / "docker.sock"):
        assert find_engine(environ).startswith("unix://")


def test_a_rootless_socket_is_found(short_path: Path) -> None:
    """A socket in the runtime directory is found."""
    environ = home(short_path)
    with served(short_path / "runtime" / "docker.sock"):
        assert find_engine(environ).startswith("unix://")


def test_a_broken_docker_configuration_is_no_obstacle(short_path: Path) -> None:
    """An unreadable config.json is taken as an absent one."""
    (short_path / ".docker").mkdir()
    (short_path / ".docker" / "config.json").write_text("{not json")
    with served(short_path / "runtime" / "podman" / "podman.sock"):
        assert find_engine(home(short_path)).startswith("unix://")


def test_home_may_be_unset(short_path: Path) -> None:
    """Without HOME, the user's entry in the password file gives the directory."""
    assert engine_directory({}) is not None
    assert Path("/state/massgen-runner/engine") == engine_directory({"XDG_STATE_HOME": "/state"})


def test_docker_host_to_nothing_is_an_error_with_a_remedy(short_path: Path) -> None:
    """A DOCKER_HOST where nobody answers is named, with the cause and what to do."""
    with pytest.raises(EngineError, match=r"unix:///nowhere/x\.sock: No such file.*DOCKER_HOST"):
        connect({"DOCKER_HOST": "unix:///nowhere/x.sock"})


def test_a_socket_that_nobody_serves_is_an_error(short_path: Path) -> None:
    """A dead socket file named by DOCKER_HOST gives `Connection refused`."""
    path = short_path / "dead.sock"
    with served(path):
        pass
    with pytest.raises(EngineError, match="Connection refused"):
        connect({"DOCKER_HOST": f"unix://{path}"})


def test_an_engine_on_another_machine_is_refused() -> None:
    """An ssh engine cannot share directories and is refused without its password."""
    with pytest.raises(EngineError, match="another machine") as caught:
        connect({"DOCKER_HOST": "ssh://user:hunter2@example.org"})
    assert "hunter2" not in str(caught.value)


def test_an_invalid_docker_host_is_an_error() -> None:
    """A DOCKER_HOST of an unknown scheme is an error for people."""
    with pytest.raises(EngineError, match="DOCKER_HOST"):
        connect({"DOCKER_HOST": "carrier-pigeon://coop"})


def test_a_socket_path_that_is_too_long_is_an_error(short_path: Path) -> None:
    """A path that does not fit into a socket's address is named as such."""
    with pytest.raises(EngineError, match="name too long"):
        connect({"DOCKER_HOST": f"unix://{short_path}/{'x' * 120}.sock"})
