"""Create arguments of the containers in which agents act, as pure functions. Runs on: host."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from runner.contract.tools import TOOLS_DIR, TOOLS_SPEC_PATH
from runner.host.container_spec import (
    LABEL_AGENT_ID,
    ContainerUser,
    Limits,
    Mount,
    bind,
    container_name,
    hardened,
)

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
    labels: Mapping[str, str]
    """Of the run."""
    spec_file: Path
    tool_dir: Path
    workspace: Path
    answers_dir: Path
    answers: str
    """Where the agent sees `answers_dir`."""
    environment: Mapping[str, str]


def agent_container_name(run_id: str, agent_id: str) -> str:
    """Return the name of an agent's container."""
    return f"{container_name(run_id)}-{agent_id}"


def agent_arguments(container: AgentContainer) -> Mapping[str, Any]:
    """Return the body of the engine's "create container" request."""
    environment = {"HOME": "/tmp", "LANG": "C.UTF-8", **container.environment}  # noqa: S108
    return {
        "Image": container.image,
        "Entrypoint": list(_TOOL_SERVER),
        "Cmd": [],
        "User": container.user.user,
        "Labels": {**container.labels, LABEL_AGENT_ID: container.agent_id},
        "WorkingDir": str(container.workspace),
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "AttachStdout": False,
        "AttachStderr": False,
        "NetworkDisabled": True,
        "StopSignal": "SIGTERM",
        "HostConfig": hardened(
            container.user,
            container.limits,
            _mounts(container),
            {"/tmp": _TMPFS_OPTIONS},  # noqa: S108
        ),
    }


def _mounts(container: AgentContainer) -> list[Mount]:
    return [
        bind(container.workspace, str(container.workspace), read_only=False),
        bind(container.answers_dir, container.answers, read_only=True),
        bind(container.tool_dir, TOOLS_DIR, read_only=True),
        bind(container.spec_file, TOOLS_SPEC_PATH, read_only=True),
    ]
