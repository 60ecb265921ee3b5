"""The `massgen-runner` command group; a command's module is imported when it is used.

Runs on: host.
"""

import importlib
from collections.abc import Mapping
from types import MappingProxyType

import click

from runner.cli.examples import examples
from runner.cli.version import version_option

_COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "clean": "runner.cli.clean:clean",
        "completion": "runner.cli.completion:completion",
        "cost": "runner.cli.cost:cost",
        "doctor": "runner.cli.doctor:doctor",
        "engine": "runner.cli.engine:engine",
        "image": "runner.cli.image:image",
        "keys": "runner.cli.keys:keys",
        "logs": "runner.cli.logs:logs",
        "model": "runner.cli.model:model",
        "prices": "runner.cli.prices:prices",
        "ps": "runner.cli.ps:ps",
        "replay": "runner.cli.replay:replay",
        "run": "runner.cli.massgen:massgen",
        "schema": "runner.cli.schema:schema",
        "shell": "runner.cli.shell:shell",
        "status": "runner.cli.status:status",
        "stop": "runner.cli.stop:stop",
        "validate": "runner.cli.validate_command:validate",
    }
)


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        target = _COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, name = target.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above is ours
        return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        'massgen-runner run --automation --config team.yaml "question"',
        "massgen-runner ps",
        "massgen-runner status -f",
        "massgen-runner stop",
    ),
)
@version_option
def massgen_runner() -> None:
    """Run, watch and clean up multi-agent runs, each in a container of its own."""
