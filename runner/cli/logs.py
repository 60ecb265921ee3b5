"""`massgen-runner logs`: what agents said, or the debug log. Runs on: host."""

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runner.contract.log_layout import LogLayout
    from runner.host.run_store import RunDirectory

_PIECE_BYTES = 64 * 1024


@click.command(
    epilog="Examples:\n  massgen-runner logs\n  massgen-runner logs -f --agent agent_a 20261103"
)
@click.argument("run", required=False)
@click.option("--agent", metavar="ID", help="What this agent said, instead of massgen.log.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
def logs(run: str | None, agent: str | None, follow: bool) -> None:
    """Print the log of RUN: an id or a part of one, or a log directory; without it the newest."""
    import asyncio

    from runner.cli.places import here
    from runner.cli.status import log_of

    directory = here().find(run)
    log = log_of(directory)
    reader = _Reader(log, _path(log, agent))
    if follow:
        asyncio.run(_follow(directory, log, reader))
    elif not reader.print_new():
        click.echo("Nothing was written yet.", err=True)


def _path(log: "LogLayout", agent: str | None) -> PurePosixPath:
    from runner.contract.run_id import is_agent_id
    from runner.errors import ConfigurationError

    if agent is not None and not is_agent_id(agent):
        raise ConfigurationError(f"--agent: {agent!r} is no agent id")
    path = log.agent_output(agent) if agent else log.debug_log
    return PurePosixPath(path.relative_to(log.root))


class _Reader:
    """Prints what was appended to a file since the last look; the file is read as hostile."""

    def __init__(self, log: "LogLayout", path: PurePosixPath) -> None:
        self._log = log
        self.path = path
        self._offset = 0

    def print_new(self) -> bool:
        """Print what is new, made safe for a terminal; tell whether there was anything."""
        from runner.contract.text import printable

        content = self._read()
        self._offset += len(content)
        click.echo(printable(content.decode("utf-8", "replace")), nl=False)
        return bool(content)

    def _read(self) -> bytes:
        from runner.contract.files import open_regular

        try:
            with open_regular(self._log.root, str(self.path)) as descriptor:
                pieces = []
                offset = self._offset
                while piece := os.pread(descriptor, _PIECE_BYTES, offset):
                    pieces.append(piece)
                    offset += len(piece)
                return b"".join(pieces)
        except FileNotFoundError:
            return b""


async def _follow(run: "RunDirectory", log: "LogLayout", reader: _Reader) -> None:
    from runner.host.monitor import changes

    async for _ in changes(log.root / reader.path.parent):
        reader.print_new()
        if not run.has_supervisor():
            break
    reader.print_new()
