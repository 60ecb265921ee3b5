"""MCP servers written as a mapping, name to server, read as the list they mean. Runs on: host."""

from typing import Any

from runner.config.problems import KeyPath
from runner.config.tree import Document


def with_listed_servers(document: Document) -> Document:
    """Return a document in which every `mcp_servers:` that is a mapping is a list instead."""
    agents = document.data.get("agents")
    for index, agent in enumerate(agents if isinstance(agents, list) else []):
        backend = agent.get("backend") if isinstance(agent, dict) else None
        servers = backend.get("mcp_servers") if isinstance(backend, dict) else None
        if isinstance(servers, dict) and servers:
            agent["backend"]["mcp_servers"] = [
                _named(name, server) for name, server in servers.items()
            ]
            document = _moved(document, ("agents", index, "backend", "mcp_servers"), list(servers))
    return document


def _named(name: str, server: Any) -> Any:
    return {"name": name, **server} if isinstance(server, dict) else server


def _moved(document: Document, home: KeyPath, names: list[str]) -> Document:
    size = len(home)

    def moved(path: KeyPath) -> KeyPath:
        if path[:size] != home or len(path) == size or path[size] not in names:
            return path
        return (*home, names.index(str(path[size])), *path[size + 1 :])

    return document._replace(
        lines={moved(path): line for path, line in document.lines.items()},
        plain={moved(path): text for path, text in document.plain.items()},
    )
