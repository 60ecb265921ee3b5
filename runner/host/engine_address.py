"""Where the container engine listens: found without importing docker. Runs on: host."""

import errno
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from runner.errors import EngineError

_SOCKET_TIMEOUT_SECONDS = 2.0
_INSTALL = "install Docker or Podman and start it, or set DOCKER_HOST"


class EngineAddress(NamedTuple):
    """URL of an engine, and the directory of its TLS files where a docker context has them."""

    url: str
    certificates: Path | None = None


def find_engine(environ: Mapping[str, str]) -> str:
    """Return the URL of the engine to use; raises EngineError that names the remedy."""
    return locate(environ).url


def locate(environ: Mapping[str, str]) -> EngineAddress:
    """Find the engine: what the user chose, else the first well-known socket that is served.

    A choice is DOCKER_HOST or DOCKER_CONTEXT and is never replaced by another engine. The current
    context of the docker configuration and the well-known sockets are tried in turn; a socket file
    that nobody serves is skipped. Raises EngineError.
    """
    if chosen := environ.get("DOCKER_HOST", "").strip():
        return EngineAddress(chosen)
    if context := environ.get("DOCKER_CONTEXT", "").strip():
        return _chosen_context(context, environ)
    denied: list[str] = []
    for address in _candidates(environ):
        problem = socket_problem(address.url)
        if problem is None:
            return address
        if problem in {errno.EACCES, errno.EPERM}:
            denied.append(address.url.removeprefix("unix://"))
    if denied:
        raise EngineError(permission_message(denied[0]))
    raise EngineError(f"no container engine answers: {_INSTALL}")


def engine_directory(environ: Mapping[str, str]) -> Path | None:
    """Return where an engine started by our own scripts lives, None where there is no home."""
    state = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        home = _home(environ)
        if home is None:
            return None
        state = str(home / ".local" / "state")
    return Path(state) / "massgen-runner" / "engine"


def socket_problem(url: str) -> int | None:
    """Return the errno of connecting to the Unix socket at `url`; None when it is served.

    Other kinds of URL are not tried.
    """
    if not url.startswith("unix://"):
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_SOCKET_TIMEOUT_SECONDS)
        try:
            probe.connect(url.removeprefix("unix://"))
        except TimeoutError:
            return errno.ETIMEDOUT
        except OSError as error:
            return error.errno or errno.ENAMETOOLONG  # Python finds that itself, without a number
    return None


def permission_message(path: str) -> str:
    """Say that the engine's socket may not be used, and what to do."""
    return (
        f"{path}: permission denied: add your user to the group that owns the socket "
        f"(often `sudo usermod -aG docker $USER`, then log in again), or use a rootless engine"
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[EngineAddress]:
    context = _current_context(environ)
    if context is not None:
        yield context
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    for path in (
        "/var/run/docker.sock",
        f"{runtime}/docker.sock",
        "/run/podman/podman.sock",
        f"{runtime}/podman/podman.sock",
    ):
        yield EngineAddress(f"unix://{path}")
    own = engine_directory(environ)
    if own is not None:
        yield EngineAddress(f"unix://{own}/docker.sock")


def _home(environ: Mapping[str, str]) -> Path | None:
    try:
        return Path(environ["HOME"] or "~").expanduser() if "HOME" in environ else Path.home()
    except RuntimeError:  # neither HOME nor an entry for this user
        return None


def _docker_configuration(environ: Mapping[str, str]) -> Path | None:
    if directory := environ.get("DOCKER_CONFIG", ""):
        return Path(directory)
    home = _home(environ)
    return home / ".docker" if home else None


def _current_context(environ: Mapping[str, str]) -> EngineAddress | None:
    directory = _docker_configuration(environ)
    if directory is None:
        return None
    name = _json_object(directory / "config.json").get("currentContext")
    return _context(name, directory) if isinstance(name, str) and name else None


def _chosen_context(name: str, environ: Mapping[str, str]) -> EngineAddress:
    if name == "default":
        return EngineAddress("unix:///var/run/docker.sock")
    directory = _docker_configuration(environ)
    address = _context(name, directory) if directory else None
    if address is None:
        raise EngineError(
            f"DOCKER_CONTEXT names the context {name!r}, which does not exist: "
            f"see `docker context ls`, or unset DOCKER_CONTEXT"
        )
    return address


def _context(name: str, directory: Path) -> EngineAddress | None:
    # The docker CLI keeps a context under the SHA-256 of its name.
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = _json_object(directory / "contexts" / "meta" / digest / "meta.json")
    endpoints = meta.get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    url = docker.get("Host") if isinstance(docker, dict) else None
    if not isinstance(url, str) or not url:
        return None
    certificates = directory / "contexts" / "tls" / digest / "docker"
    return EngineAddress(url, certificates if certificates.is_dir() else None)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
