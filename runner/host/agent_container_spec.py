"""Create arguments of the containers in which agents act, as pure functions. Runs on: host."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from runner.contract.spec import SOCKET_DIR
from runner.contract.tools import TOOLS_DIR, TOOLS_SPEC_PATH
from runner.gateway.credentials import Credential
from runner.host.container_spec import (
    LABEL_AGENT_ID,
    ContainerUser,
    Limits,
    Mount,
    bind,
    container_name,
    hardened,
)
from runner.host.disk_limit import DiskLimit
from runner.host.portable_tools import PORTABLE_COMMAND, PORTABLE_ROOT
from runner.host.shared_paths import SharedPath

# Programs are built and run in /tmp, so it may hold executables; what it holds counts as memory.
_TMPFS_OPTIONS = "rw,exec,nosuid,nodev,size=256m,mode=1777"
_TOOL_SERVER = ("/opt/runner/venv/bin/python", "-P", "-B", "-u", "-m", "runner.tools")


class AgentContainer(NamedTuple):
    """Everything that makes one agent's container different from another."""

    run_id: str
    agent_id: str
    image: str
    user: ContainerUser
    limits: Limits
    memory_limit: str
    """The memory limit in the user's words."""
    disk: DiskLimit
    """What the workspace may hold."""
    labels: Mapping[str, str]
    """Of the run."""
    spec_file: Path
    tool_dir: Path
    socket_dir: Path
    """Holds the agent's own sockets, which the host serves."""
    workspace: Path
    answers_dir: Path
    answers: str
    """Where the agent sees `answers_dir`."""
    environment: Mapping[str, str]
    raw: Mapping[str, Credential] = MappingProxyType({})
    """Variables with credentials that somebody wants in the container as they are."""
    is_bridged: bool = False
    """On the engine's own bridge; any other agent's container has no network."""
    shared: tuple[SharedPath, ...] = ()
    """The user's files that the agent sees."""
    portable: Path | None = None
    """The tool server for an image that does not have it; None: the run image."""


def agent_container_name(run_id: str, agent_id: str) -> str:
    """Return the name of an agent's container."""
    return f"{container_name(run_id)}-{agent_id}"


def agent_arguments(container: AgentContainer) -> Mapping[str, Any]:
    """Return the body of the engine's "create container" request."""
    raw = {name: credential.reveal() for name, credential in container.raw.items()}
    environment = {"LANG": "C.UTF-8", **raw, "HOME": "/tmp", **container.environment}  # noqa: S108
    host = {
        **hardened(
            container.user,
            container.limits,
            _mounts(container),
            {"/tmp": _TMPFS_OPTIONS},  # noqa: S108
        ),
        "Ulimits": [_file_size(container.disk)],
    }
    return {
        "Image": container.image,
        "Entrypoint": list(PORTABLE_COMMAND if container.portable else _TOOL_SERVER),
        "Cmd": [],
        "User": container.user.user,
        "Labels": {**container.labels, LABEL_AGENT_ID: container.agent_id},
        "WorkingDir": str(container.workspace),
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "AttachStdout": False,
        "AttachStderr": False,
        "NetworkDisabled": not container.is_bridged,
        "StopSignal": "SIGTERM",
        "HostConfig": {**host, "NetworkMode": "bridge"} if container.is_bridged else host,
    }


def _file_size(disk: DiskLimit) -> dict[str, Any]:
    """Return the bound of single files: the kernel's own, which nobody can be too quick for."""
    return {"Name": "fsize", "Soft": disk.file_bytes, "Hard": disk.file_bytes}


def _mounts(container: AgentContainer) -> list[Mount]:
    shared = [mount for path in container.shared for mount in _shared(path)]
    if container.portable:
        shared.append(bind(container.portable, PORTABLE_ROOT, read_only=True))
    return [
        *shared,
        bind(container.workspace, str(container.workspace), read_only=False),
        bind(container.answers_dir, container.answers, read_only=True),
        bind(container.tool_dir, TOOLS_DIR, read_only=True),
        bind(container.socket_dir, SOCKET_DIR, read_only=True),
        bind(container.spec_file, TOOLS_SPEC_PATH, read_only=True),
    ]


def _shared(path: SharedPath) -> list[Mount]:
    """Return the mounts of a context path, and of what hides parts of it.

    A hidden directory is a file system of its own, so that the workspace in it can be mounted.
    """
    return [
        bind(path.source, str(path.target), read_only=True),
        *(_empty_directory(hidden) for hidden in path.hidden_directories),
        *(bind(Path(os.devnull), str(hidden), read_only=True) for hidden in path.hidden_files),
    ]


def _empty_directory(target: Path) -> Mount:
    options = {"SizeBytes": 1024 * 1024, "Mode": 0o755}
    return {"Type": "tmpfs", "Target": str(target), "TmpfsOptions": options}
