"""`massgen-runner clean`: remove what crashed runs left behind. Runs on: host."""

import click

from runner.cli.examples import examples


@click.command(epilog=examples("massgen-runner clean --dry-run", "massgen-runner clean --json"))
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def clean(dry_run: bool, as_json: bool) -> None:
    """Remove containers whose supervisor is gone, and close the runs of this directory they leave.

    Runs that are alive, and logs, are never touched.
    """
    import json
    import os

    from runner.cli.places import here
    from runner.errors import EngineError
    from runner.host import cleanup
    from runner.host.engine import connect

    try:
        engine = connect(os.environ)
    except EngineError as error:
        click.echo(f"Warning: containers are not looked for: {error}", err=True)
        engine = None
    done = list(cleanup.clean(engine, here(), dry_run=dry_run))
    if as_json:
        click.echo(json.dumps([item._asdict() for item in done], indent=2))
        return
    for item in done:
        click.echo(f"{'would be ' if dry_run else ''}{item.what}: {item.kind} {item.name}")
    if not done:
        click.echo("Nothing was left behind.", err=True)
