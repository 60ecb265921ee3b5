"""Tools of MCP servers, by the protocol's own SDK. Runs on: the agent container.

Loaded only where an agent has such servers: the SDK takes a second to import.
"""
