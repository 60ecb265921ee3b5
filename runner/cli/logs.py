"""`massgen-runner logs`: what agents said, or the debug log. Runs on: host."""

import codecs
import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import click

from runner.cli.examples import examples

if TYPE_CHECKING:
    from runner.contract.log_layout import LogLayout
    from runner.host.run_store import RunDirectory

_PIECE_BYTES = 64 * 1024


@click.command(
    epilog=examples("massgen-runner logs", "massgen-runner logs -f --agent agent_a 20261103")
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
    reader = _Reader(log, _path(directory, log, agent))
    if follow:
        asyncio.run(_follow(directory, log, reader))
    elif not reader.print_new():
        click.echo("Nothing was written yet.", err=True)


def _path(run: "RunDirectory", log: "LogLayout", agent: str | None) -> PurePosixPath:
    from runner.contract.text import one_line
    from runner.errors import ConfigurationError

    record = run.read_record()
    agents = record.agents if record else ()
    if agent is not None and agent not in agents:
        raise ConfigurationError(
            f"--agent: {one_line(agent)!r} is no agent of {run.run_id}: it has {', '.join(agents)}"
        )
    path = log.agent_output(agent) if agent else log.debug_log
    return PurePosixPath(path.relative_to(log.root))


class _Reader:
    """Prints what was appended to a file since the last look; the file is read as hostile."""

    def __init__(self, log: "LogLayout", path: PurePosixPath) -> None:
        self._log = log
        self._path = path
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def print_new(self) -> bool:
        """Print what is new, made safe for a terminal; tell whether there was anything."""
        from runner.contract.text import printable

        before = self._offset
        for piece in self._pieces():
            click.echo(printable(self._decoder.decode(piece)), nl=False)
        return self._offset > before

    def _pieces(self) -> Iterator[bytes]:
        from runner.contract.files import HostileFileError, open_regular
        from runner.errors import ExecutionError

        try:
            with open_regular(self._log.root, str(self._path)) as descriptor:
                while piece := os.pread(descriptor, _PIECE_BYTES, self._offset):
                    self._offset += len(piece)
                    yield piece
        except (FileNotFoundError, NotADirectoryError):
            return  # not written yet
        except HostileFileError as error:
            raise ExecutionError(
                f"{self._log.root}: {error}: something else put it there"
            ) from error


async def _follow(run: "RunDirectory", log: "LogLayout", reader: _Reader) -> None:
    from runner.host.monitor import changes

    # status.json, in the same directory, changes whenever an agent does anything
    async for _ in changes(log.root):
        reader.print_new()
        if not run.has_supervisor():
            break
    reader.print_new()
