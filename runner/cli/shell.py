"""`massgen-runner shell`: a shell in an agent's container. Runs on: host."""

import os

import click

from runner.cli.examples import examples


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog=examples(
        "massgen-runner shell 20261103-143022 agent_a",
        "massgen-runner shell 20261103-143022 agent_a -- ls -la",
    ),
)
@click.argument("run")
@click.argument("agent")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(run: str, agent: str, command: tuple[str, ...]) -> int:
    """Open a shell in the container of AGENT in RUN, or carry COMMAND out in it.

    For looking into a run that goes on; what you change there the agent sees. It ends with the
    command's exit code. What the container's programs print reaches your terminal as it is.
    """
    from runner.cli.places import here
    from runner.host.agent_shell import open_shell

    return open_shell(here().find(run), agent, command or ("/bin/sh",), os.environ)
