"""`massgen-runner validate`: check a configuration. Runs on: host."""

import click

from runner.cli.examples import examples


@click.command(epilog=examples("massgen-runner validate team.yaml --strict"))
@click.argument("file")
@click.option("--strict", is_flag=True, help="Warnings are errors.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
def validate(file: str, strict: bool, as_json: bool) -> int:
    """Check the configuration FILE; needs no engine and no keys."""
    from runner.cli.validate import validate as check

    return check(file, strict=strict, as_json=as_json)
