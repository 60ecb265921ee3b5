"""All MCP servers of an agent, and the tools they offer together. Runs on: the agent container."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from mcp_types import Tool as McpTool
from pydantic import JsonValue

from runner.contract.text import encodable, one_line, printable
from runner.contract.tools import McpServerSpec, ToolDefinition, ToolServerSpec
from runner.tools.calls import Answer, Emit, Tool
from runner.tools.mcp import names
from runner.tools.mcp.schemas import SchemaMistake, usable_schema
from runner.tools.mcp.server import MAX_TOOLS, Listing, McpServer, ServerError
from runner.tools.mcp.stdio import stdio_transport

MAX_DESCRIPTION_CHARS = 2_000
MAX_INSTRUCTIONS_CHARS = 1_900
MAX_PROBLEMS = 20
"""Of one server."""
MAX_OFFERED = 128
"""Of all servers; some providers take no more."""
MAX_OFFER_BYTES = 350_000
"""Of all definitions together: coordination takes a little more."""


class Offer(NamedTuple):
    """What the servers have for the agent."""

    tools: dict[str, Tool]
    """By the name under which they are offered."""
    definitions: tuple[ToolDefinition, ...]
    problems: tuple[str, ...]


@asynccontextmanager
async def mcp_servers(agent: ToolServerSpec) -> AsyncGenerator[Offer]:
    """Start all servers at once and yield what they offer; one that fails costs its own tools."""
    servers = [_server(spec, Path(agent.workspace)) for spec in agent.mcp_servers]
    try:
        started = await asyncio.gather(*map(_started, servers))
        yield offer_of(agent, list(zip(servers, started, strict=True)))
    finally:
        await asyncio.gather(*(server.close() for server in servers))


def _server(spec: McpServerSpec, workspace: Path) -> McpServer:
    return McpServer(spec, lambda words, over: stdio_transport(spec, workspace, words, over))


async def _started(server: McpServer) -> Listing | ServerError:
    try:
        return await server.start()
    except ServerError as error:
        return error


def offer_of(
    agent: ToolServerSpec, started: Sequence[tuple[McpServer, Listing | ServerError]]
) -> Offer:
    """Return what servers that have been started offer."""
    offer = Offer({}, (), ())
    for server, listing in started:
        if isinstance(listing, ServerError):
            problem = f"the MCP server {server.spec.name} {listing}"
            offer = offer._replace(problems=(*offer.problems, problem))
        else:
            offer = _with_server(offer, agent, server, listing)
    return offer


def _with_server(offer: Offer, agent: ToolServerSpec, server: McpServer, listing: Listing) -> Offer:
    spec = server.spec
    tools, definitions = dict(offer.tools), list(offer.definitions)
    room = MAX_OFFER_BYTES - sum(map(_size, definitions))
    problems = _listing_problems(spec, listing)
    for tool in listing.tools:
        if not names.is_wanted(agent, spec, tool.name):
            continue
        try:
            definition = _definition(spec, tool, tools, room)
        except SchemaMistake as mistake:
            shown = one_line(tool.name, 100)
            problems.append(f"the tool {shown} of the MCP server {spec.name} {mistake}: left out")
            continue
        tools[definition.name] = _tool(server, tool.name)
        definitions.append(definition)
        room -= _size(definition)
    first = len(offer.definitions)
    definitions[first : first + 1] = (_instructed(d, listing) for d in definitions[first:][:1])
    return Offer(tools, tuple(definitions), (*offer.problems, *problems[:MAX_PROBLEMS]))


def _instructed(first: ToolDefinition, listing: Listing) -> ToolDefinition:
    """Return a server's first tool with what the server says of all its tools."""
    said = printable(encodable(listing.instructions)).strip()[:MAX_INSTRUCTIONS_CHARS]
    if not said:
        return first
    text = f"{first.description}\n\nOf all tools of this server: {said}"
    return first.model_copy(update={"description": text})


def _size(definition: ToolDefinition) -> int:
    return len(definition.model_dump_json().encode())


def _listing_problems(spec: McpServerSpec, listing: Listing) -> list[str]:
    missing = names.not_there(spec, {tool.name for tool in listing.tools})
    problems = [f"the MCP server {spec.name} has no tool {name}" for name in missing]
    if not listing.is_whole:
        problems.append(
            f"the MCP server {spec.name} has more than {MAX_TOOLS} tools: cut off there"
        )
    return problems


def _definition(
    spec: McpServerSpec, tool: McpTool, taken: Mapping[str, Tool], room: int
) -> ToolDefinition:
    """Raises SchemaMistake."""
    name = names.offered_name(spec.name, tool.name, taken)
    if not name:
        raise SchemaMistake("is there twice")
    described = printable(encodable(tool.description or tool.title or tool.name))
    definition = ToolDefinition(
        name=name,
        description=described[:MAX_DESCRIPTION_CHARS],
        parameters=usable_schema(tool.input_schema),
    )
    if len(taken) == MAX_OFFERED or _size(definition) > room:
        raise SchemaMistake("is one more than an agent can have")
    return definition


def _tool(server: McpServer, name: str) -> Tool:
    async def carry_out(arguments: Mapping[str, JsonValue], _: Emit) -> Answer:
        return await server.call(name, arguments)

    return carry_out
