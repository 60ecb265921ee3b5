"""`massgen-runner image`: build, list and remove run images. Runs on: host."""

import json
import os

import click


@click.group()
def image() -> None:
    """Build, list and remove the images that runs are made from.

    Example: massgen-runner image build
    """


@image.command()
@click.option("--new-base", is_flag=True, help="Make or pull the base again, with new packages.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def build(*, new_base: bool, as_json: bool) -> None:
    """Build the run image if it is missing, and print its name.

    Example: massgen-runner image build --json
    """
    from runner.host.engine import connect
    from runner.host.images import ensure_image, image_tag

    with connect(os.environ) as engine:
        before = engine.image_id(image_tag(os.environ))
        tag = ensure_image(engine, _progress, os.environ, fresh_base=new_base)
        made = engine.image_id(tag)
    if as_json:
        click.echo(json.dumps({"image": tag, "id": made, "built": made != before}))
    else:
        click.echo(tag)


@image.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def ls(*, as_json: bool) -> None:
    """List our images, newest first; `*` marks the one that runs use now.

    Example: massgen-runner image ls
    """
    from runner.host.base_image import IMAGE_LABEL
    from runner.host.engine import connect
    from runner.host.images import image_tag, list_images, own_name

    current = image_tag(os.environ)
    with connect(os.environ) as engine:
        images = list_images(engine)
    rows = [
        {
            "id": found.id,
            "tags": [own_name(tag) for tag in found.tags],
            "kind": found.labels[IMAGE_LABEL],
            "size_bytes": found.size_bytes,
            "created": found.created,
            "current": current in map(own_name, found.tags),
        }
        for found in images
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for found, row in zip(images, rows, strict=True):
        mark = "*" if row["current"] else " "
        name = ", ".join(map(own_name, found.tags)) or found.id.removeprefix("sha256:")[:12]
        click.echo(f"{mark} {row['kind']:<6} {found.size_bytes / 1e6:6.0f} MB  {name}")


@image.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def prune(*, as_json: bool) -> None:
    """Remove our images except the current run image, its base and the kept build stage.

    Images of others are never touched; one that a container uses is kept.

    Example: massgen-runner image prune
    """
    from runner.host.engine import connect
    from runner.host.images import prune_images

    with connect(os.environ) as engine:
        pruned = prune_images(engine, os.environ)
    if as_json:
        click.echo(json.dumps(pruned._asdict()))
        return
    for name in pruned.removed:
        click.echo(f"removed {name}")
    for problem in pruned.kept:
        click.echo(f"kept: {problem}", err=True)


def _progress(text: str) -> None:
    click.echo(text, err=True)
