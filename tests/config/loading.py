"""Configurations written to real files and loaded. Runs on: host."""

from pathlib import Path

from runner.config.load import LoadedConfig, load_config
from runner.errors import ConfigurationError

MINIMAL = "agents:\n  - id: a\n    backend: {type: openai, model: m}\n"


def load(directory: Path, text: str | bytes, *overrides: str, name: str = "c.yaml") -> LoadedConfig:
    """Write `text` to a file and load it."""
    content = text if isinstance(text, bytes) else text.encode()
    (directory / name).write_bytes(content)
    return load_config(name, overrides, cwd=directory)


def problems(
    directory: Path, text: str | bytes, *overrides: str, name: str = "c.yaml"
) -> list[str]:
    """Return the lines of the error that loading gives; empty where it succeeds."""
    try:
        load(directory, text, *overrides, name=name)
    except ConfigurationError as error:
        return list(error.problems)
    return []


def agent(backend: str, more: str = "") -> str:
    """Return a configuration of one agent with a backend in flow style."""
    return f"agents:\n  - id: a\n    backend: {{{backend}}}\n{more}"
