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


def home(tmp_path: Path, **more: str) -> dict[str, str]:
    """Return an environment in which no engine but the test's own can be found by a variable."""
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "runtime"), **more}


def write_context(tmp_path: Path, name: str, url: str) -> None:
    """Write a docker context as the docker CLI does."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = tmp_path / ".docker" / "contexts" / "meta" / digest / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": url}}}))


def test_docker_host_is_taken_as_it_is(tmp_path: Path) -> None:
    """DOCKER_HOST wins over everything, also where nobody answers."""
    assert find_engine(home(tmp_path, DOCKER_HOST="unix:///nowhere")) == "unix:///nowhere"


def test_the_current_context_comes_next(tmp_path: Path) -> None:
    """The context that the docker configuration names as current is used."""
    path = tmp_path / "context.sock"
    write_context(tmp_path, "mine", f"unix://{path}")
    (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "mine"}')
    with served(path):
        assert find_engine(home(tmp_path)) == f"unix://{path}"


def test_a_chosen_context_must_exist(tmp_path: Path) -> None:
    """DOCKER_CONTEXT that names no context is an error, not another engine."""
    with pytest.raises(EngineError, match="'gone', which does not exist"):
        find_engine(home(tmp_path, DOCKER_CONTEXT="gone"))


def test_a_chosen_context_is_found(tmp_path: Path) -> None:
    """DOCKER_CONTEXT selects a context of the docker configuration."""
    write_context(tmp_path, "other", "tcp://127.0.0.1:2375")
    assert find_engine(home(tmp_path, DOCKER_CONTEXT="other")) == "tcp://127.0.0.1:2375"


def test_tls_files_of_a_context_are_found(tmp_path: Path) -> None:
    """A context with TLS files brings their directory along."""
    write_context(tmp_path, "tls", "tcp://127.0.0.1:2376")
    digest = hashlib.sha256(b"tls").hexdigest()
    certificates = tmp_path / ".docker" / "contexts" / "tls" / digest / "docker"
    certificates.mkdir(parents=True)
    assert certificates == locate(home(tmp_path, DOCKER_CONTEXT="tls")).certificates


def test_an_engine_started_by_the_scripts_is_found(tmp_path: Path) -> None:
    """The socket in the state directory is found when no other engine answers before it."""
    environ = home(tmp_path)
    directory = engine_directory(environ)
    assert tmp_path / ".local" / "state" / "massgen-runner" / "engine" == directory
    assert directory is not None
    with served(directory / "docker.sock"):
        assert find_engine(environ).startswith("unix://")


def test_a_rootless_socket_is_found(tmp_path: Path) -> None:
    """A socket in the runtime directory is found."""
    environ = home(tmp_path)
    with served(tmp_path / "runtime" / "docker.sock"):
        assert find_engine(environ).startswith("unix://")


def test_a_broken_docker_configuration_is_no_obstacle(tmp_path: Path) -> None:
    """An unreadable config.json is taken as an absent one."""
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text("{not json")
    with served(tmp_path / "runtime" / "podman" / "podman.sock"):
        assert find_engine(home(tmp_path)).startswith("unix://")


def test_home_may_be_unset(tmp_path: Path) -> None:
    """Without HOME, the user's entry in the password file gives the directory."""
    assert engine_directory({}) is not None
    assert Path("/state/massgen-runner/engine") == engine_directory({"XDG_STATE_HOME": "/state"})


def test_docker_host_to_nothing_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    """A DOCKER_HOST where nobody answers is named, with the cause and what to do."""
    with pytest.raises(EngineError, match=r"unix:///nowhere/x\.sock: No such file.*DOCKER_HOST"):
        connect({"DOCKER_HOST": "unix:///nowhere/x.sock"})


def test_a_socket_that_nobody_serves_is_an_error(tmp_path: Path) -> None:
    """A dead socket file named by DOCKER_HOST gives `Connection refused`."""
    path = tmp_path / "dead.sock"
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
