"""`massgen-runner keys`: which keys are there, and do providers take them. Runs on: host."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from runner.cli.examples import examples

if TYPE_CHECKING:
    from runner.gateway.key_check import KeyCheck
    from runner.host.keys import Key

Checks = Mapping[str, "KeyCheck"]
_BAD_VERDICTS = frozenset({"refused", "unreachable"})


@click.command(epilog=examples("massgen-runner keys", "massgen-runner keys --check --json"))
@click.option("--config", metavar="FILE", help="The keys of a configuration's agents instead.")
@click.option("--check", is_flag=True, help="Ask each provider whether it takes the key.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def keys(*, config: str | None, check: bool, as_json: bool) -> int:
    """List where each provider's key is found; a value is never shown.

    `--check` makes one call for each key that costs nothing. Exits 1 if a key cannot be used, if a
    provider refused one or was not reached, or if one that --config needs is missing.
    """
    found = _keys(config)
    checks = _checks(found) if check else {}
    if as_json:
        rows = [_as_json(key, checks, check=check) for key in found]
        click.echo(json.dumps({"keys": rows}, indent=2))
    else:
        _show(found, checks)
    bad = any(c.verdict in _BAD_VERDICTS for c in checks.values())
    wrong = {"unusable", "missing"} if config else {"unusable"}
    return int(bad or any(key.state in wrong for key in found))


def _keys(config: str | None) -> "Sequence[Key]":
    from pathlib import Path

    from runner.cli.edge import edge_of_process
    from runner.gateway.redaction import Redactor
    from runner.host.keys import agent_keys, provider_keys

    cwd = Path.cwd()
    if config is None:
        found = provider_keys(os.environ, cwd)
    else:
        from runner.config.load import load_config

        found = agent_keys(load_config(config, cwd=cwd).config, os.environ, cwd)
    edge_of_process().redact = Redactor(k.credential.reveal() for k in found if k.credential)
    return found


def _checks(found: "Sequence[Key]") -> Checks:
    import asyncio

    from runner.gateway.key_check import check_keys

    routes = [route for key in found if (route := key.route())]
    checked = asyncio.run(check_keys(routes))
    return {route.agent_id: check for route, check in zip(routes, checked, strict=True)}


def _as_json(key: "Key", checks: Checks, *, check: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": key.name,
        "provider": key.provider.name,
        "variables": list(key.variables),
        "state": key.state,
        "variable": key.credential.variable if key.credential else None,
        "source": key.credential.source if key.credential else None,
        "problem": key.problem,
    }
    if check:
        done = checks.get(key.name)
        row["check"] = {"verdict": done.verdict, "said": done.said} if done else None
    return row


def _show(found: "Sequence[Key]", checks: Checks) -> None:
    width = max(len(key.name) for key in found)
    for key in found:
        click.echo(f"{key.name:<{width}}  {_described(key, checks.get(key.name))}")


def _described(key: "Key", check: "KeyCheck | None") -> str:
    if key.state == "not needed":
        return "needs no key"
    if key.state == "missing":
        return f"no key: set {' or '.join(key.variables)}"
    if key.credential is None:
        return key.problem or "unusable"
    text = f"{key.credential.variable} from {key.credential.source}"
    if check is None:
        return text
    said = f" ({check.said})" if check.said else ""
    return f"{text}: {check.verdict}{said}"
