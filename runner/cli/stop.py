"""`massgen-runner stop`: end a run that goes on. Runs on: host."""

from typing import TYPE_CHECKING

import click

from runner.cli.examples import examples

if TYPE_CHECKING:
    from runner.host.run_store import RunDirectory


@click.command(epilog=examples("massgen-runner stop", "massgen-runner stop 20261103-143022"))
@click.argument("run", required=False)
@click.option("--timeout", default=20.0, show_default=True, help="Seconds to wait for the end.")
def stop(run: str | None, timeout: float) -> int:
    """Stop RUN: an id or a part of one, or a log directory; without it the newest that is alive.

    The run ends with exit code 4; its log stays.
    """
    from runner.host.stop import stop_run

    click.echo(stop_run(_chosen(run), timeout_seconds=timeout), err=True)
    return 0


def _chosen(text: str | None) -> "RunDirectory":
    from runner.cli.places import here

    if text is None:
        alive = (run for run in here().all() if run.has_supervisor())
        found = next(alive, None)
        if found is not None:
            return found
    return here().find(text)
