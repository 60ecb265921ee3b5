"""The run container's create arguments, as a pure function. Runs on: host."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from runner.contract.spec import SOCKET_DIR, SPEC_PATH

LABEL_RUN_ID = "dev.runner.run-id"
LABEL_PARENT_RUN_ID = "dev.runner.parent-run-id"
LABEL_ROOT_RUN_ID = "dev.runner.root-run-id"
LABEL_OWNER = "dev.runner.owner"
LABEL_RUN_DIRECTORY = "dev.runner.run-directory"

UNPRIVILEGED_UID = 65532
"""Who a root caller's containers run as; their files are handed back when the run has ended."""

DEFAULT_CPUS = 1.0
"""Coordination waits for models; engines refuse more than the machine has."""
_TMPFS_OPTIONS = "rw,noexec,nosuid,nodev,size=64m,mode=1777"


class Limits(NamedTuple):
    """What a container may use at most."""

    memory_bytes: int
    cpus: float
    pids: int


class ContainerUser(NamedTuple):
    """Who the container's processes are, inside and on the host."""

    user: str
    """`uid:gid` inside the container."""
    userns_mode: str
    """`host` switches an engine-wide user namespace off for this container; empty: as it is."""
    host_uid: int
    """Owner that files and the run socket must have for the container to use them."""


class RunContainer(NamedTuple):
    """Everything that makes one run container different from another."""

    run_id: str
    parent_run_id: str | None
    root_run_id: str
    image: str
    user: ContainerUser
    limits: Limits
    log_dir: Path
    spec_file: Path
    socket_dir: Path
    run_directory: Path
    owner_uid: int


def container_user(
    caller_uid: int, caller_gid: int, *, rootless: bool, userns_remap: bool
) -> ContainerUser:
    """Return the user for a caller's containers, never the host's root.

    In a rootless engine the container's uid 0 *is* the caller, and every other uid is a stranger.
    """
    if rootless:
        return ContainerUser("0:0", "", caller_uid)
    userns_mode = "host" if userns_remap else ""
    if caller_uid == 0:
        return ContainerUser(
            f"{UNPRIVILEGED_UID}:{UNPRIVILEGED_UID}", userns_mode, UNPRIVILEGED_UID
        )
    return ContainerUser(f"{caller_uid}:{caller_gid}", userns_mode, caller_uid)


def container_name(run_id: str) -> str:
    """Return the name of a run's container."""
    return f"runner-{run_id}"


def create_arguments(container: RunContainer) -> Mapping[str, Any]:
    """Return the body of the engine's "create container" request."""
    return {
        "Image": container.image,
        "User": container.user.user,
        "Labels": _labels(container),
        "WorkingDir": "/",
        "Env": ["HOME=/tmp", "PYTHONDONTWRITEBYTECODE=1"],
        "AttachStdout": False,
        "AttachStderr": False,
        "NetworkDisabled": True,
        "StopSignal": "SIGTERM",
        "HostConfig": _host_config(container),
    }


def _labels(container: RunContainer) -> dict[str, str]:
    labels = {
        LABEL_RUN_ID: container.run_id,
        LABEL_ROOT_RUN_ID: container.root_run_id,
        LABEL_OWNER: str(container.owner_uid),
        LABEL_RUN_DIRECTORY: str(container.run_directory),
    }
    if container.parent_run_id:
        labels[LABEL_PARENT_RUN_ID] = container.parent_run_id
    return labels


def _host_config(container: RunContainer) -> dict[str, Any]:
    return {
        "NetworkMode": "none",
        "UsernsMode": container.user.userns_mode,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Init": True,
        "AutoRemove": False,  # a container whose death must be explained may not vanish
        "Memory": container.limits.memory_bytes,
        "MemorySwap": container.limits.memory_bytes,  # equal to memory: no swap
        "NanoCpus": int(container.limits.cpus * 1_000_000_000),
        "PidsLimit": container.limits.pids,
        "Tmpfs": {"/tmp": _TMPFS_OPTIONS},  # noqa: S108 - inside the container
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
        "Mounts": [
            _bind(container.log_dir, str(container.log_dir), read_only=False),
            _bind(container.spec_file, SPEC_PATH, read_only=True),
            _bind(container.socket_dir, SOCKET_DIR, read_only=True),
        ],
    }


def _bind(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    """Return a mount; unlike the "binds" form, it takes any character and makes no directory."""
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": read_only}
