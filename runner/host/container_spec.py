"""Create arguments of run containers, and what all containers share. Runs on: host."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from runner.contract.spec import ANSWERS_DIR, SOCKET_DIR, SPEC_PATH
from runner.contract.tools import AGENTS_DIR

LABEL_RUN_ID = "dev.runner.run-id"
LABEL_PARENT_RUN_ID = "dev.runner.parent-run-id"
LABEL_ROOT_RUN_ID = "dev.runner.root-run-id"
LABEL_AGENT_ID = "dev.runner.agent-id"
LABEL_OWNER = "dev.runner.owner"
LABEL_RUN_DIRECTORY = "dev.runner.run-directory"

UNPRIVILEGED_UID = 65532
"""Who a root caller's containers run as; their files are handed back when the run has ended."""

DEFAULT_CPUS = 1.0
"""Coordination waits for models; engines refuse more than the machine has."""
_TMPFS_OPTIONS = "rw,noexec,nosuid,nodev,size=64m,mode=1777"
Mount = dict[str, Any]


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
    tool_dirs: Mapping[str, Path] = MappingProxyType({})
    """Agent id → directory in which coordination listens for the agent's tool server."""
    read_only: tuple[Path, ...] = ()
    """Host directories that the container sees at the same path: the agents' workspaces."""
    answers_dir: Path | None = None
    """Where coordination puts what agents may see of each other's workspaces."""


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
        "Labels": run_labels(container),
        "WorkingDir": "/",
        "Env": ["HOME=/tmp", "PYTHONDONTWRITEBYTECODE=1"],
        "AttachStdout": False,
        "AttachStderr": False,
        "NetworkDisabled": True,
        "StopSignal": "SIGTERM",
        "HostConfig": hardened(
            container.user,
            container.limits,
            _mounts(container),
            {"/tmp": _TMPFS_OPTIONS},  # noqa: S108 - inside the container
        ),
    }


def _mounts(container: RunContainer) -> list[Mount]:
    mounts = [
        bind(container.log_dir, str(container.log_dir), read_only=False),
        bind(container.spec_file, SPEC_PATH, read_only=True),
        bind(container.socket_dir, SOCKET_DIR, read_only=True),
    ]
    for agent_id, directory in container.tool_dirs.items():
        mounts.append(bind(directory, f"{AGENTS_DIR}/{agent_id}", read_only=False))
    for directory in container.read_only:
        mounts.append(bind(directory, str(directory), read_only=True))
    if container.answers_dir is not None:
        mounts.append(bind(container.answers_dir, ANSWERS_DIR, read_only=False))
    return mounts


def run_labels(container: RunContainer) -> dict[str, str]:
    """Return the labels by which everything of a run is found."""
    labels = {
        LABEL_RUN_ID: container.run_id,
        LABEL_ROOT_RUN_ID: container.root_run_id,
        LABEL_OWNER: str(container.owner_uid),
        LABEL_RUN_DIRECTORY: str(container.run_directory),
    }
    if container.parent_run_id:
        labels[LABEL_PARENT_RUN_ID] = container.parent_run_id
    return labels


def hardened(
    user: ContainerUser, limits: Limits, mounts: list[Mount], tmpfs: Mapping[str, str]
) -> dict[str, Any]:
    """Return the host's side of a container: no network, no capability, no writable root."""
    return {
        "NetworkMode": "none",
        "UsernsMode": user.userns_mode,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Init": True,
        "AutoRemove": False,  # a container whose death must be explained may not vanish
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,  # equal to memory: no swap
        "NanoCpus": int(limits.cpus * 1_000_000_000),
        "PidsLimit": limits.pids,
        "Tmpfs": dict(tmpfs),
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
        "Mounts": mounts,
    }


def bind(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    """Return a mount; unlike the "binds" form, it takes any character and makes no directory."""
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": read_only}
