"""`massgen-runner completion`: completion scripts for shells. Runs on: host."""

import click

from runner.cli.examples import examples


@click.command(
    epilog=examples(
        'eval "$(massgen-runner completion bash)"',
        'eval "$(massgen-runner completion zsh)"',
        "massgen-runner completion fish > ~/.config/fish/completions/massgen.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes `massgen` and `massgen-runner` in SHELL."""
    from click.shell_completion import get_completion_class

    from runner.cli.group import massgen_runner
    from runner.cli.massgen import massgen

    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"{shell}: click has no completion for it")
    for command, name in ((massgen, "massgen"), (massgen_runner, "massgen-runner")):
        variable = f"_{name.upper().replace('-', '_')}_COMPLETE"
        click.echo(complete(command, {}, name, variable).source())
