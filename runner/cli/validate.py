"""`massgen --validate FILE`: say what is wrong, and start nothing. Runs on: host."""

import json
from pathlib import Path
from typing import Any

import click

from runner.config.load import Checked, check_config
from runner.contract.outcome import ExitCode
from runner.contract.text import one_line


def validate(path: str, strict: bool, as_json: bool) -> int:
    """Print the problems of a file or an example; return 0, or 1 for errors.

    With `strict` warnings count as errors. With `as_json` the result is one JSON object on
    standard output, `{valid, errors, warnings}`; otherwise problems go to standard error.
    """
    checked = check_config(path, cwd=Path())
    valid = not checked.errors and not (strict and checked.warnings)
    if as_json:
        click.echo(json.dumps(_as_json(checked, valid=valid), indent=2))
    else:
        _print(one_line(path), checked, valid=valid)
    return ExitCode.SUCCESS if valid else ExitCode.CONFIGURATION


def _as_json(checked: Checked, *, valid: bool) -> dict[str, Any]:
    return {
        "valid": valid,
        "errors": [problem.as_json() for problem in checked.errors],
        "warnings": [problem.as_json() for problem in checked.warnings],
    }


def _print(shown: str, checked: Checked, *, valid: bool) -> None:
    for problem in checked.errors:
        click.echo(str(problem), err=True)
    for problem in checked.warnings:
        click.echo(f"warning: {problem}", err=True)
    counts = f"{_count(checked.errors, 'error')}, {_count(checked.warnings, 'warning')}"
    click.echo(f"{shown}: {'valid' if valid else 'not valid'} ({counts})", err=not valid)


def _count(problems: tuple[object, ...], word: str) -> str:
    return f"{len(problems)} {word}{'' if len(problems) == 1 else 's'}"
