"""Agents that act: their tool servers, and turns with tool calls. Runs on: the run container."""
