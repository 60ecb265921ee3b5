"""`massgen-runner schema`: the published JSON schemas. Runs on: host."""

import click

from runner.cli.examples import examples


@click.command(epilog=examples("massgen-runner schema status > status.schema.json"))
@click.argument("name", type=click.Choice(["status", "config"]))
def schema(name: str) -> None:
    """Print the JSON schema of status.json, or of the configuration."""
    import json

    click.echo(json.dumps(_schema(name), indent=2))


def _schema(name: str) -> object:
    if name == "status":
        from runner.contract.status import status_schema

        return status_schema()
    from runner.config.describe import json_schema

    return json_schema()
