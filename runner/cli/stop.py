"""`massgen-runner stop`: end a run that goes on. Runs on: host."""

import click


@click.command(epilog="Examples:\n  massgen-runner stop\n  massgen-runner stop 20261103-143022")
@click.argument("run", required=False)
@click.option("--timeout", default=20.0, show_default=True, help="Seconds to wait for the end.")
def stop(run: str | None, timeout: float) -> int:
    """Stop RUN: an id or a part of one, or a log directory; without it the newest.

    The run ends with exit code 4; its log stays.
    """
    from runner.cli.places import here
    from runner.host.stop import stop_run

    directory = here().find(run)
    click.echo(stop_run(directory, timeout_seconds=timeout), err=True)
    return 0
