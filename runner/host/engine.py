"""The container engine: the one module that imports docker. Runs on: host.

Importing this module is cheap; docker itself (a tenth of a second) is imported by `connect`, which
may be called in a thread. All methods block and may be called from several threads at once.
"""

import math
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING, Any

from runner.contract.text import one_line
from runner.errors import EngineError, ExecutionError
from runner.host.engine_address import (
    EngineAddress,
    find_engine,
    locate,
    socket_problem,
)
from runner.host.engine_exec import Execution
from runner.host.engine_messages import (
    ERROR_LENGTH,
    cause_of,
    connect_message,
    said_by,
    shown,
)
from runner.host.engine_records import (
    ContainerState,
    ContainerSummary,
    EngineInfo,
    ImageSummary,
    container_state,
    container_summary,
    engine_info,
    image_summary,
    label_filter,
    split_tag,
)

if TYPE_CHECKING:
    from docker import APIClient

__all__ = [
    "ContainerMissingError",
    "ContainerState",
    "ContainerSummary",
    "Engine",
    "EngineGoneError",
    "EngineInfo",
    "ImageSummary",
    "connect",
    "find_engine",
]

LOG_LIMIT_BYTES = 64 * 1024
_BUILD_SILENCE_SECONDS = 600  # the longest a build step may say nothing
_REMOVE_DELAYS_SECONDS = (0.1, 0.3, 1.0)
_ERROR_LINES = 6  # of a build, before the one that failed


class EngineGoneError(ExecutionError):
    """The connection to the engine was lost, or the engine no longer answers."""


class ContainerMissingError(ExecutionError):
    """The container does not exist: somebody removed it."""


class Engine:
    """A connection to a container engine.

    Every method raises EngineGoneError when the engine cannot be reached or stops answering, and
    ExecutionError when it refuses, except where its docstring says otherwise.
    """

    def __init__(
        self, client: "APIClient", url: str, reopen: Callable[[float], "APIClient"]
    ) -> None:
        self._client = client
        self._reopen = reopen
        self.url = url

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ping(self) -> None:
        """Return when the engine answers."""
        with self._asking("ping"):
            self._client.ping()

    def info(self) -> EngineInfo:
        """Ask the engine what it is."""
        with self._asking("info"):
            return engine_info(self._client.version(), self._client.info(), self.url)

    # Containers

    def create(self, name: str, image: str, config: Mapping[str, Any]) -> str:
        """Create a container from the body of POST /containers/create; return its id.

        `image` is put into the body. Raises EngineError for a missing image and for a body that
        the engine does not accept.
        """
        from docker import errors

        with self._asking(f"create container {name}"):
            try:
                body = {**config, "Image": image}
                answer = self._client.create_container_from_config(body, name)  # type: ignore[no-untyped-call]
            except errors.NotFound as error:
                raise EngineError(
                    f"image {image} is missing: run `massgen-runner image build`"
                ) from error
            except errors.APIError as error:
                if error.status_code != 400:
                    raise
                raise EngineError(f"the engine refuses the container: {said_by(error)}") from error
        return str(answer["Id"])

    def start(self, container_id: str) -> None:
        """Start a created container."""
        with self._asking(f"start container {container_id[:12]}"):
            self._client.start(container_id)

    def wait(self, container_id: str) -> int:
        """Block until the container is not running; return its exit code. There is no deadline.

        Raises ContainerMissingError when it does not exist.
        """
        with self._asking(f"wait for container {container_id[:12]}"):
            return int(self._client.wait(container_id, timeout=None)["StatusCode"])

    def inspect(self, container_id: str) -> ContainerState | None:
        """Return the state of a container, None when it does not exist."""
        try:
            with self._asking(f"inspect container {container_id[:12]}"):
                return container_state(self._client.inspect_container(container_id)["State"])
        except ContainerMissingError:
            return None

    def pause(self, container_id: str) -> None:
        """Hold every process of a container still; paused, not running or missing is fine."""
        self._unless_done("pause", container_id, self._client.pause)

    def unpause(self, container_id: str) -> None:
        """Let a paused container go on; not paused or missing is fine."""
        self._unless_done("unpause", container_id, self._client.unpause)

    def kill(self, container_id: str, signal: str = "SIGKILL") -> None:
        """Send `signal`, after unpausing a paused container; not running or missing is fine."""
        state = self.inspect(container_id)
        if state is not None and state.paused:
            self._unless_done("unpause", container_id, self._client.unpause)
            state = self.inspect(container_id)
        if state is not None and state.running:
            self._unless_done("kill", container_id, self._client.kill, signal)

    def remove(self, container_id: str) -> None:
        """Kill and remove a container with its anonymous volumes; missing is fine.

        A busy mount can fail a removal that works a moment later, so it is tried a few times.
        """
        for delay in (*_REMOVE_DELAYS_SECONDS, None):
            try:
                with self._asking(f"remove container {container_id[:12]}"):
                    self._client.remove_container(container_id, v=True, force=True)
            except ContainerMissingError:
                return
            except EngineGoneError:
                raise
            except ExecutionError:
                if delay is None:
                    raise
                time.sleep(delay)
            else:
                return

    def logs(self, container_id: str, tail: int = 50) -> str:
        """Return the last `tail` lines of both streams, at most LOG_LIMIT_BYTES of their end."""
        end = bytearray()
        with self._asking(f"read the log of container {container_id[:12]}"):
            for chunk in self._client.logs(container_id, stream=True, follow=False, tail=tail):
                end += chunk
                del end[:-LOG_LIMIT_BYTES]
        return end.decode("utf-8", "replace")

    def execute(self, container_id: str, command: Sequence[str], *, terminal: bool) -> Execution:
        """Prepare a further program in a running container; nothing is started yet."""
        with self._asking(f"run a program in container {container_id[:12]}"):
            made = self._client.exec_create(
                container_id, list(command), tty=terminal, stdin=terminal
            )
        return Execution(self._client, str(made["Id"]), self._asking)

    def list(self, labels: Mapping[str, str | None]) -> list[ContainerSummary]:
        """Return all containers, also ended ones, that carry the labels (None: any value)."""
        with self._asking("list containers"):
            found = self._client.containers(all=True, filters={"label": label_filter(labels)})
            return [container_summary(item) for item in found]

    # Images

    def has_image(self, reference: str) -> bool:
        """Say whether the engine has the image."""
        return self.image_id(reference) is not None

    def image_id(self, reference: str) -> str | None:
        """Return the id of an image, None when the engine does not have it."""
        details = self.image_details(reference)
        return None if details is None else str(details["Id"])

    def image_details(self, reference: str) -> Mapping[str, Any] | None:
        """Return what the engine says about an image (Id, Config, Architecture …), or None."""
        try:
            with self._asking(f"inspect image {reference}"):
                details: Mapping[str, Any] = self._client.inspect_image(reference)  # type: ignore[no-untyped-call]
                return details
        except ContainerMissingError:
            return None

    def list_images(self, labels: Mapping[str, str | None]) -> "Sequence[ImageSummary]":
        """Return the images that carry the labels (None: any value)."""
        with self._asking("list images"):
            found = self._client.images(filters={"label": label_filter(labels)})
            return [image_summary(item) for item in found]

    def build(
        self,
        context: IO[bytes],
        tag: str,
        *,
        build_arguments: Mapping[str, str],
        labels: Mapping[str, str],
        progress: Callable[[str], None],
    ) -> str:
        """Build an image without network from a tar stream with a Dockerfile; return its id.

        `progress` gets each line of the build. Raises EngineError when a step fails.
        """
        with self._asking(f"build image {tag}"):
            lines = self._client.build(
                fileobj=context,
                custom_context=True,
                tag=tag,
                rm=True,
                forcerm=True,
                network_mode="none",
                buildargs=dict(build_arguments),
                labels=dict(labels),
                use_config_proxy=False,  # a proxy's address may hold a password
                timeout=_BUILD_SILENCE_SECONDS,
                decode=True,
            )
            _follow(lines, f"image {tag} cannot be built", progress)
        return self._made_image(tag)

    def import_image(self, archive: str, tag: str, changes: Sequence[str] = ()) -> str:
        """Make an image of the root file system in the tar file `archive`; return its id.

        `changes` are Dockerfile lines such as `ENV …` and `LABEL …`.
        """
        with self._asking(f"import image {tag}"):
            answer = self._client.import_image_from_file(archive, changes=list(changes))
        # Podman ignores the tag of an import, so the image is named by its id afterwards.
        found = re.findall(r'"status":\s*"(sha256:[0-9a-f]{64})"', str(answer))
        if not found:
            said = one_line(str(answer))[:ERROR_LENGTH]
            raise EngineError(f"image {tag} cannot be imported: {said}")
        self.tag(found[-1], tag)
        return self._made_image(tag)

    def pull(
        self, reference: str, progress: Callable[[str], None], silence_seconds: float = 60.0
    ) -> str:
        """Pull an image and return its id; an error hidden in the stream raises EngineError.

        Raises EngineGoneError when the engine says nothing for `silence_seconds`.
        """
        from docker import errors

        repository, version = split_tag(reference)
        failure = f"image {reference} cannot be pulled"
        with self._asking(f"pull image {reference}"), closing(self._reopen(silence_seconds)) as own:
            try:
                lines = own.pull(repository, version or "latest", stream=True, decode=True)
                _follow(lines, failure, progress)
            except errors.APIError as error:
                raise EngineError(f"{failure}: {said_by(error)}") from error
        return self._made_image(reference)

    def tag(self, reference: str, tag: str) -> None:
        """Give an image one more name."""
        repository, version = split_tag(tag)
        with self._asking(f"tag image {reference}"):
            self._client.tag(reference, repository, version)

    def remove_image(self, reference: str) -> None:
        """Remove an image or one of its names; missing is fine, in use raises ExecutionError."""
        try:
            with self._asking(f"remove image {reference}"):
                self._client.remove_image(reference)
        except ContainerMissingError:
            return

    def _made_image(self, tag: str) -> str:
        made = self.image_id(tag)
        if made is None:
            raise EngineError(f"image {tag} is missing although the engine said that it was made")
        return made

    def _unless_done(
        self, what: str, container_id: str, action: Callable[..., object], *rest: str
    ) -> None:
        """Carry out an action; that the container ended or was woken meanwhile is fine."""
        try:
            with self._asking(f"{what} container {container_id[:12]}"):
                action(container_id, *rest)
        except EngineGoneError:
            raise
        except ExecutionError:
            state = self.inspect(container_id)
            if state is not None and _is_undone(what, state):
                raise

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Turn what docker and its HTTP library raise into our errors."""
        import requests
        import urllib3
        from docker import errors

        try:
            yield
        except errors.NotFound as error:
            raise ContainerMissingError(f"{what}: {said_by(error)}") from error
        except errors.APIError as error:  # before RequestException, which it derives from
            raise ExecutionError(f"{what}: the engine refuses: {said_by(error)}") from error
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            errors.DockerException,
            OSError,
        ) as error:
            raise EngineGoneError(
                f"{what}: the container engine at {shown(self.url)} does not answer: "
                f"{cause_of(error)}"
            ) from error


def _is_undone(what: str, state: ContainerState) -> bool:
    """Tell whether an action that the engine refused is still to be done."""
    match what:
        case "pause":
            return state.running and not state.paused
        case "unpause":
            return state.paused
        case _:
            return state.paused or state.running


def connect(environ: Mapping[str, str], timeout: float = 60.0) -> Engine:
    """Find the engine, connect and agree on an API version; `timeout` in seconds for each request.

    Raises EngineError that says what is wrong and what to do.
    """
    return _open(locate(environ), environ, timeout)


def _open(address: EngineAddress, environ: Mapping[str, str], timeout: float) -> Engine:
    url = address.url
    if url.startswith("ssh://"):
        raise EngineError(
            f"{shown(url)}: a run shares directories of this machine with its container, which an "
            f"engine on another machine cannot do: use an engine of this machine"
        )
    if problem := socket_problem(url):
        raise EngineError(connect_message(url, OSError(problem, os.strerror(problem))))
    import docker
    from docker import errors

    def open_client(seconds: float) -> "APIClient":
        connection = _connection(address, environ)
        return docker.APIClient(version="auto", timeout=math.ceil(seconds), **connection)

    try:
        client = open_client(timeout)
    except (errors.DockerException, OSError, ValueError) as error:
        raise EngineError(connect_message(url, error)) from error
    return Engine(client, url, open_client)


def _connection(address: EngineAddress, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return base_url and tls for docker's client, by the rules of the docker CLI."""
    from docker import tls, utils

    if address.certificates is None:
        chosen = {name: value for name, value in environ.items() if name.startswith("DOCKER_")}
        # An empty mapping would make docker read the process's environment.
        return dict(utils.kwargs_from_env(environment={**chosen, "DOCKER_HOST": address.url}))
    directory = address.certificates
    authority = directory / "ca.pem"
    return {
        "base_url": address.url.replace("tcp://", "https://", 1),
        "tls": tls.TLSConfig(
            client_cert=(str(directory / "cert.pem"), str(directory / "key.pem")),
            ca_cert=str(authority) if authority.exists() else None,
            verify=authority.exists() or None,
        ),
    }


def _follow(lines: Iterator[dict[str, Any]], failure: str, progress: Callable[[str], None]) -> None:
    last: deque[str] = deque(maxlen=_ERROR_LINES)
    for line in lines:
        if "error" in line:
            said = one_line(str(line["error"]))[:ERROR_LENGTH]
            raise EngineError("; ".join([f"{failure}: {said}", *last]))
        text = one_line(str(line.get("stream") or line.get("status") or ""))[:ERROR_LENGTH]
        if text and not line.get("progressDetail"):  # a bar for each layer is for terminals
            last.append(text)
            progress(text)
