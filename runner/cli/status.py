"""`massgen-runner status`: the status of a run, once or as it changes. Runs on: host."""

from typing import TYPE_CHECKING

import click

from runner.cli.examples import examples

if TYPE_CHECKING:
    from runner.contract.log_layout import LogLayout
    from runner.contract.status import Status
    from runner.host.run_store import RunDirectory


@click.command(epilog=examples("massgen-runner status", "massgen-runner status -f 20261103-143022"))
@click.argument("run", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option(
    "--json", "as_json", is_flag=True, help="status.json itself, one line for each change."
)
def status(run: str | None, follow: bool, as_json: bool) -> int:
    """Show the status of RUN: an id or a part of one, or a log directory; without it the newest.

    With --follow the command ends with the run's own exit code.
    """
    import asyncio

    from runner.cli.places import here

    directory = here().find(run)
    log = log_of(directory)
    if follow:
        return asyncio.run(_follow(directory, log, as_json=as_json))
    _show(_read(log), as_json=as_json)
    return 0


def log_of(run: "RunDirectory") -> "LogLayout":
    """Return the log directory of a run; raises ConfigurationError where its record is lost."""
    from pathlib import Path

    from runner.contract.log_layout import LogLayout
    from runner.errors import ConfigurationError

    record = run.read_record()
    if record is None:
        raise ConfigurationError(f"{run.record}: unreadable: massgen-runner clean tidies up")
    return LogLayout(Path(record.log_dir))


def _read(log: "LogLayout") -> "Status":
    from runner.errors import ConfigurationError
    from runner.host.closing import read_status

    status = read_status(log)
    if status is None:
        raise ConfigurationError(f"{log.status}: missing or not a status file")
    return status


async def _follow(run: "RunDirectory", log: "LogLayout", *, as_json: bool) -> int:
    from runner.host.monitor import changes

    last = None
    async for _ in changes(log.root):
        status = _read(log)
        if status.meta.last_updated != last:
            last = status.meta.last_updated
            _show(status, as_json=as_json)
        if status.meta.outcome is not None:
            return int(status.meta.outcome.exit_code)
        if not run.has_supervisor():
            break
    click.echo("The run's supervisor is gone: massgen-runner clean closes the run.", err=True)
    return 2


def _show(status: "Status", *, as_json: bool) -> None:
    if as_json:
        import json

        # ASCII: what agents wrote cannot steer the terminal either
        click.echo(json.dumps(status.model_dump(mode="json")))
        return
    from runner.contract.text import one_line
    from runner.report.words import agent_words, totals

    click.echo(f"{one_line(status.meta.run_id)}  {totals(status, status.meta.elapsed_seconds)}")
    if status.usage.budget_note is not None:
        click.echo(f"  {one_line(status.usage.budget_note)}")
    for name, agent in status.agents.items():
        click.echo(f"  {one_line(name)}: {agent_words(agent)}")
    if status.meta.outcome is not None:
        outcome = status.meta.outcome
        kind = outcome.exit_code.name.lower()
        click.echo(f"  {kind} ({outcome.exit_code.value}): {one_line(outcome.reason)}")
