"""`massgen-runner doctor`: can a run be carried out here, and if not, why not. Runs on: host."""

import json
import os
import sys

import click

_MARKS = {"ok": "✓", "warning": "!", "error": "✗"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(*, as_json: bool) -> int:
    """Check engine, image, keys, local model and disk; each problem comes with its remedy.

    Exits 0 if a run is possible, else 1. Of keys only names are shown.

    Example: massgen-runner doctor --json
    """
    from pathlib import Path

    from runner.host.checkup import check_machine

    findings = check_machine(os.environ, Path.cwd())
    usable = all(finding.level != "error" for finding in findings)
    if as_json:
        checks = [finding._asdict() for finding in findings]
        click.echo(json.dumps({"usable": usable, "checks": checks}, indent=2))
        return 0 if usable else 1
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        click.echo(f"{_mark(finding.level)} {finding.name:<{width}}  {finding.found}")
        if finding.remedy:
            click.echo(f"  {'':<{width}}  → {finding.remedy}")
    return 0 if usable else 1


def _mark(level: str) -> str:
    mark = _MARKS[level]
    encoding = sys.stdout.encoding or "ascii"
    try:
        mark.encode(encoding)
    except UnicodeEncodeError:
        return {"ok": "+", "warning": "!", "error": "x"}[level]
    return mark
