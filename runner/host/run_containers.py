"""A run's containers from its settings, and whose its directories are meanwhile. Runs on: host."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from runner.contract.spec import RunSpec
from runner.host import ownership
from runner.host.container_spec import (
    DEFAULT_CPUS,
    ContainerUser,
    Limits,
    RunContainer,
    container_name,
    container_user,
    create_arguments,
)
from runner.host.engine import EngineInfo
from runner.host.run_request import CurrentRun
from runner.host.supervisor import ContainerPlan


def _shared_directories(current: CurrentRun) -> list[Path]:
    """Return the directories that the containers' user must own while the run lasts."""
    shared = [current.new.log.root]
    for agent in current.acting.values():
        shared += [agent.workspace, agent.tool_dir]
    return [*shared, current.new.directory.answers] if current.acting else shared


def take_back(current: CurrentRun) -> None:
    """Give a root caller back what containers wrote, and leave no file that runs as its owner."""
    hand_back(_shared_directories(current))


def hand_back(directories: Iterable[Path]) -> None:
    """Do so with directories of a run whose containers are dead."""
    for directory in directories:
        with suppress(OSError):
            if os.getuid() == 0:
                ownership.give(directory, 0, os.getgid())
            else:
                ownership.strip_special_bits(directory)


def containers_user(info: EngineInfo) -> ContainerUser:
    """Return who the processes in this caller's containers are."""
    return container_user(
        os.getuid(), os.getgid(), rootless=info.rootless, userns_remap=info.userns_remap
    )


def lend(current: CurrentRun, user: ContainerUser) -> None:
    """Let the containers' user write where containers are to write."""
    if user.host_uid != os.getuid():
        for directory in _shared_directories(current):
            ownership.give(directory, user.host_uid, user.host_uid)


def run_container(
    current: CurrentRun, spec: RunSpec, image: str, user: ContainerUser
) -> RunContainer:
    new, acting = current.new, current.acting
    settings = current.request.config.config.runner
    return RunContainer(
        run_id=spec.run_id,
        parent_run_id=spec.parent_run_id,
        root_run_id=spec.root_run_id,
        image=image,
        user=user,
        limits=Limits(settings.memory_bytes, settings.cpus or DEFAULT_CPUS, settings.pids),
        log_dir=new.log.root,
        spec_file=new.directory.spec,
        socket_dir=new.directory.socket_dir,
        run_directory=new.directory.root,
        owner_uid=os.getuid(),
        tool_dirs={name: agent.tool_dir for name, agent in acting.items()},
        read_only=tuple(agent.workspace for agent in acting.values()),
        answers_dir=new.directory.answers if acting else None,
    )


def container_plan(current: CurrentRun, spec: RunSpec, container: RunContainer) -> ContainerPlan:
    return ContainerPlan(
        name=container_name(spec.run_id),
        image=container.image,
        config=create_arguments(container),
        log=current.new.log,
        deadline=spec.deadline,
        time_limit_seconds=spec.coordination.orchestrator_timeout_seconds,
        memory_limit=current.request.config.config.runner.memory,
        keep=current.request.keep_container,
    )
