"""What a run makes for its agents that act: workspaces, directories, specs. Runs on: host."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from runner.config.models import AgentConfig, RunConfig
from runner.config.specs import tool_names
from runner.config.values import memory_bytes
from runner.contract.files import atomic_write
from runner.contract.spec import AgentTools
from runner.contract.tools import CommandSettings, ToolServerSpec
from runner.host.agent_container_spec import AgentContainer
from runner.host.agent_environment import agent_environment
from runner.host.container_spec import DEFAULT_CPUS, Limits, RunContainer, run_labels
from runner.host.disk_limit import DiskLimit
from runner.host.reach import Reach
from runner.host.run_store import NewRun, RunStore
from runner.host.shared_paths import SharedPath

_DEFAULT_ANSWERS = "temp_workspaces"
READY_SECONDS = 30.0
"""How long a tool server may take beside its MCP servers, which are started side by side."""
_CALL_SECONDS = 900.0
"""How long a call may take at the most that names no time limit, commands apart."""


class ActingAgent(NamedTuple):
    """One agent's directories, all of them the host's own."""

    config: AgentConfig
    workspace: Path
    tool_dir: Path
    """Holds the socket on which coordination listens for the tool server."""
    spec_file: Path
    socket_dir: Path
    """Holds the sockets that the host serves to the agent."""
    disk: DiskLimit
    """What the workspace may hold."""
    answers: str
    """Where the agent sees what others have in their workspaces."""
    shared: tuple[SharedPath, ...] = ()
    """The user's files that it sees."""

    @property
    def own_image(self) -> str | None:
        """Return the image that is not the run image, if the agent has one."""
        return self.config.backend.command_line_docker_image

    @property
    def tools(self) -> AgentTools:
        """Return what coordination is told."""
        servers = self.config.backend.mcp_servers
        return AgentTools(
            workspace=str(self.workspace),
            answers=self.answers,
            disk_bytes=self.disk.bytes,
            names=tool_names(self.config.backend),
            context_paths=tuple(str(path.target) for path in self.shared),
            is_asked=bool(servers),
            ready_seconds=READY_SECONDS
            + max((s.startup_timeout_seconds for s in servers), default=0),
            call_seconds=max(_CALL_SECONDS, self.config.backend.command_line_timeout_seconds + 30),
        )

    @property
    def server_spec(self) -> ToolServerSpec:
        """Return what the tool server is told."""
        backend = self.config.backend
        commands = CommandSettings(
            allowed_patterns=backend.allowed_commands,
            blocked_patterns=backend.blocked_commands,
            timeout_seconds=backend.command_line_timeout_seconds,
            environment=backend.command_line_env,
            memory_limit=backend.command_line_docker_memory_limit,
        )
        return ToolServerSpec(
            agent_id=self.config.id,
            workspace=str(self.workspace),
            answers=self.answers,
            context_paths=tuple(str(path.target) for path in self.shared),
            protected_paths=tuple(
                str(path.target / inner) for path in self.shared for inner in path.protected
            ),
            enforce_read_before_delete=backend.enforce_read_before_delete,
            commands=commands if backend.enable_mcp_command_line else None,
            mcp_servers=tuple(server.spec for server in backend.mcp_servers),
            allowed_tools=backend.allowed_tools,
            exclude_tools=backend.exclude_tools,
        )


def make_acting_agents(
    config: RunConfig, store: RunStore, new: NewRun, shared: tuple[SharedPath, ...]
) -> dict[str, ActingAgent]:
    """Make the directories of each agent that acts; agent id → directories. Raises OSError."""
    acting: dict[str, ActingAgent] = {}
    answers = store.root / (config.orchestrator.agent_temporary_workspace or _DEFAULT_ANSWERS)
    for agent in config.agents:
        if not agent.backend.acts:
            continue
        private = new.directory.agent(agent.id)
        tool_dir, socket_dir = private / "tools", private / "socket"
        tool_dir.mkdir(parents=True)
        socket_dir.mkdir()
        made = ActingAgent(
            config=agent,
            workspace=store.new_workspace(Path(agent.backend.cwd or agent.id).name),
            tool_dir=tool_dir,
            spec_file=private / "tools.json",
            socket_dir=socket_dir,
            disk=DiskLimit(config.runner.disk_bytes, config.runner.disk),
            answers=str(answers),
            shared=shared,
        )
        atomic_write(made.spec_file, made.server_spec.model_dump_json(indent=2))
        acting[agent.id] = made
    if acting:
        new.directory.answers.mkdir()
    return acting


def agent_containers(
    acting: Mapping[str, ActingAgent],
    new: NewRun,
    run: RunContainer,
    portable: Path | None,
    reach: Reach,
) -> dict[str, AgentContainer]:
    """Return what each agent's container is made from; `portable` is for those of other images."""
    return {
        name: AgentContainer(
            run_id=run.run_id,
            agent_id=name,
            image=agent.own_image or run.image,
            user=run.user,
            limits=_limits(agent.config),
            memory_limit=agent.config.backend.command_line_docker_memory_limit,
            disk=agent.disk,
            labels=run_labels(run),
            spec_file=agent.spec_file,
            tool_dir=agent.tool_dir,
            socket_dir=agent.socket_dir,
            workspace=agent.workspace,
            answers_dir=new.directory.answers,
            answers=agent.answers,
            environment=agent_environment(
                agent.config.backend.provider,
                services=reach.agents[name].services,
                egress=bool(reach.agents[name].rules.rules),
            ),
            raw=reach.agents[name].raw,
            is_bridged=reach.agents[name].is_bridged,
            shared=agent.shared,
            portable=portable if agent.own_image else None,
        )
        for name, agent in acting.items()
    }


_PIDS = 256


def _limits(agent: AgentConfig) -> Limits:
    backend = agent.backend
    return Limits(
        memory_bytes(backend.command_line_docker_memory_limit) or 0,
        backend.command_line_docker_cpu_limit or DEFAULT_CPUS,
        _PIDS,
    )
