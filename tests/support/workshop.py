"""Tool servers without containers for agents of a run on a provider's socket. Runs on: host."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from runner.contract.spec import AgentSpec, AgentTools
from runner.contract.tools import (
    TO_SERVER,
    TOOLS_SOCKET,
    Call,
    Cancel,
    CommandSettings,
    Hello,
    McpServerSpec,
    Result,
    ToolServerSpec,
    frame,
)
from tests.support.provider import Provider
from tests.support.tool_server import started

DEADLINE_SECONDS = 60.0

Reply = Callable[[Call], Result | None]
"""What a scripted tool server returns; None: nothing, until the call is cancelled."""


class Workshop:
    """Workspaces, and a tool server for each agent that makes a call; a context manager."""

    def __init__(
        self,
        directory: Path,
        provider: Provider,
        reply: Reply | None = None,
        hello: Hello = Hello(),  # noqa: B008  # frozen
    ) -> None:
        self._directory = directory
        self._reply = reply
        self._hello = hello
        self._servers: tuple[McpServerSpec, ...] = ()
        self._stack = ExitStack()
        self.cancelled: list[int] = []
        """Numbers of the calls that a scripted tool server was told to end."""
        self.was_cancelled = threading.Event()
        provider.answer_containers(self._start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def workspace(self, agent_id: str) -> Path:
        return self._directory / "workspaces" / agent_id

    def servers(self, *specs: McpServerSpec) -> None:
        """Let real tool servers start MCP servers; members have to be asked with `is_asked`."""
        self._servers = specs

    def members(
        self, *ids: str, names: tuple[str, ...] = ("execute_command",), **settings: Any
    ) -> tuple[AgentSpec, ...]:
        """Return agents that act; limits of `AgentTools` may be among the settings."""
        limits = {key: settings.pop(key) for key in _LIMITS if key in settings}
        return tuple(self._member(name, names, limits, settings) for name in ids)

    def _member(
        self, name: str, names: tuple[str, ...], limits: dict[str, Any], settings: dict[str, Any]
    ) -> AgentSpec:
        workspace = self.workspace(name)
        workspace.mkdir(parents=True, exist_ok=True)
        (self._directory / "agents" / name).mkdir(parents=True, exist_ok=True)
        tools = AgentTools(workspace=str(workspace), answers="/answers", names=names, **limits)
        return AgentSpec(**{"id": name, "model": f"model-{name}", "tools": tools, **settings})

    def _start(self, agent_id: str, action: str) -> None:
        """Answer coordination's request for a container: start a tool server in its place."""
        if action not in {"start", "replace"}:
            return
        socket_path = self._directory / "agents" / agent_id / TOOLS_SOCKET
        if self._reply is None:
            started_server = _real(agent_id, self.workspace(agent_id), socket_path, self._servers)
            self._stack.enter_context(started_server)
        else:
            self._stack.enter_context(self._scripted(socket_path, self._reply))

    @contextmanager
    def _scripted(self, socket_path: Path, reply: Reply) -> Iterator[None]:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(socket_path))
        thread = threading.Thread(target=self._serve, args=(connection, reply), daemon=True)
        thread.start()
        try:
            yield
        finally:
            connection.close()
            thread.join(DEADLINE_SECONDS)

    def _serve(self, connection: socket.socket, reply: Reply) -> None:
        connection.sendall(frame(self._hello))
        with connection.makefile("rb") as lines:
            for line in lines:
                message = TO_SERVER.validate_json(line)
                if isinstance(message, Cancel):
                    self.cancelled.append(message.id)
                    self.was_cancelled.set()
                    continue
                result = reply(message)
                if result is not None:
                    connection.sendall(frame(result.model_copy(update={"id": message.id})))


_LIMITS = ("max_steps", "max_result_chars", "is_asked", "ready_seconds")


@contextmanager
def _real(
    agent_id: str, workspace: Path, socket_path: Path, servers: tuple[McpServerSpec, ...]
) -> Iterator[None]:
    spec = ToolServerSpec(
        agent_id=agent_id,
        workspace=str(workspace),
        answers="/answers",
        commands=CommandSettings(),
        mcp_servers=servers,
    )
    spec_file = socket_path.with_name("tools.json")
    spec_file.write_text(spec.model_dump_json())
    with started(workspace, spec_file, socket_path, None):
        yield  # coordination is gone at the end, so that it ends by itself
