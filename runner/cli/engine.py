"""`massgen-runner engine`: find, start and stop a container engine. Runs on: host."""

import os

import click


@click.group()
def engine() -> None:
    """Find a container engine, or start one of your own where none runs.

    Example: massgen-runner engine start
    """


@engine.command()
def start() -> None:
    """Print the address of an engine that answers; install and start one if there is none.

    Installing and starting need root and, for the installation, apt-get. What was started is found
    by `massgen` without any setting, and stays until `massgen-runner engine stop`.

    Example: massgen-runner engine start
    """
    from runner.host.own_engine import ensure_engine

    click.echo(ensure_engine(os.environ, _say))


@engine.command()
def stop() -> None:
    """Stop the engine that `massgen-runner engine start` started, and no other.

    Its images stay for the next start.

    Example: massgen-runner engine stop
    """
    from runner.host.own_engine import stop_own_engine

    stopped = stop_own_engine(os.environ)
    click.echo("stopped" if stopped else "no engine of ours runs")


def _say(text: str) -> None:
    click.echo(text, err=True)
