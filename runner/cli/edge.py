"""What a command hands to the edge of the process, which prints its errors. Runs on: host."""

from collections.abc import Callable

import click


class Edge:
    """Made once for a process, and reached by a command through click's context."""

    def __init__(self) -> None:
        self.redact: Callable[[str], str] | None = None
        """Masks the credentials that the command has loaded; None: it has loaded none."""


def edge_of_process() -> Edge:
    """Return the edge of the process; a new one where the command was called by other means."""
    context = click.get_current_context(silent=True)
    found = context.find_object(Edge) if context else None
    return found or Edge()
