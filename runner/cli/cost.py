"""`massgen-runner cost`: what runs have cost, from their ledgers. Runs on: host."""

import datetime as dt

import click

from runner.cli.examples import examples

_GROUPS = ("run", "model", "agent", "day", "config")


@click.command(
    epilog=examples(
        "massgen-runner cost",
        "massgen-runner cost 20261103-143022 --by agent",
        "massgen-runner cost --since 2026-11-01 --by day --csv",
    )
)
@click.argument("run", required=False)
@click.option(
    "--since",
    "start",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    metavar="DATE",
    help="Only calls that began on this day (2026-11-03, or with a time) or later.",
)
@click.option(
    "--by", type=click.Choice(_GROUPS), default="run", show_default=True, help="What to add up by."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values on stdout.")
def cost(run: str | None, start: dt.datetime | None, by: str, as_json: bool, as_csv: bool) -> None:
    """Show what the runs of this directory have cost, or RUN with those nested in it.

    Calls that have not ended count apart, with the most that they can cost.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv: choose one")
    from runner.cli.places import here
    from runner.host.costs import below, calls_of, since
    from runner.report import costs

    store = here()
    wanted = store.find(run).run_id if run is not None else None
    runs = calls_of(store.all())
    if wanted is not None:
        runs = below(runs, wanted)
    for each in runs:
        for problem in each.problems:
            click.echo(f"Warning: {each.run_id}: {problem}", err=True)
    if start is not None:
        runs = since(runs, start.timestamp())
    group = next(name for name in costs.GROUPS if name == by)
    rows = costs.rows(runs, group)
    if as_json:
        import json

        click.echo(json.dumps(costs.as_json(rows, group), indent=2))
    elif as_csv:
        click.echo(costs.as_csv(rows, group), nl=False)
    else:
        for line in costs.table(rows):
            click.echo(line)
