"""`massgen-runner ps`: the runs of this directory. Runs on: host."""

from typing import Any

import click

from runner.cli.examples import examples


@click.command(epilog=examples("massgen-runner ps", "massgen-runner ps --all --json"))
@click.option("-a", "--all", "everything", is_flag=True, help="Ended runs too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def ps(everything: bool, as_json: bool) -> None:
    """List the runs that were started in this directory."""
    from runner.cli.places import here

    rows = [row for run in here().all() if (row := _row(run)) is not None]
    shown = [row for row in rows if everything or row["alive"]]
    if as_json:
        import json

        click.echo(json.dumps(shown, indent=2))
        return
    _print_table(shown, hidden=len(rows) - len(shown))


def _row(run: Any) -> dict[str, Any] | None:
    record = run.read_record()
    if record is None:
        return None
    alive = run.has_supervisor()
    return {
        "run_id": run.run_id,
        "state": record.state if alive or record.state == "exited" else "abandoned",
        "alive": alive,
        "exit_code": record.outcome.exit_code.value if record.outcome else None,
        "reason": record.outcome.reason if record.outcome else None,
        "created_at": record.created_at,
        "ended_at": record.ended_at,
        "question": record.question,
        "log_dir": record.log_dir,
        "container_id": record.container_id,
    }


def _print_table(rows: list[dict[str, Any]], *, hidden: int) -> None:
    import time

    from runner.contract.text import one_line

    for row in rows:
        seconds = (row["ended_at"] or time.time()) - row["created_at"]
        end = "" if row["exit_code"] is None else f" ({row['exit_code']})"
        state = f"{row['state']}{end}"
        click.echo(f"{row['run_id']}  {state:<12} {seconds:8.1f}s  {one_line(row['question'], 60)}")
    if not rows:
        more = f"; {hidden} have ended: massgen-runner ps --all" if hidden else ""
        click.echo(f"No run is alive here{more}.", err=True)
