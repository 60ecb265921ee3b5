"""`massgen-runner replay`: a recorded run once more, without provider and keys. Runs on: host."""

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from runner.cli.examples import examples

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config.load import LoadedConfig
    from runner.gateway.cassette import Cassette


class ReplayOptions(NamedTuple):
    """The command line of `massgen-runner replay`."""

    run: str | None
    speed: float
    strict: bool
    automation: bool
    config: str | None
    question: str | None
    overrides: tuple[str, ...]
    record: bool
    no_display: bool
    debug: bool


@click.command(
    epilog=examples(
        "massgen-runner replay",
        "massgen-runner replay 20261103-143022",
        "massgen-runner replay --strict --automation tests/team.jsonl",
        "massgen-runner replay --config team.yaml --strict tests/team.jsonl",
    )
)
@click.argument("run", metavar="[RUN|FILE]", required=False)
@click.option(
    "--speed",
    type=click.FloatRange(0, 1000),
    default=0.0,
    metavar="N",
    help="1: as it was recorded; 2: twice as fast; 0, the default: without waiting.",
)
@click.option("--strict", is_flag=True, help="End with 2 where a request differs.")
@click.option("--automation", is_flag=True, help="About ten lines on stdout, for scripts.")
@click.option("--config", metavar="FILE", help="Run this configuration against the cassette.")
@click.option("--question", metavar="TEXT", help="Ask this instead of the recorded question.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--record", is_flag=True, help="Keep a cassette of the replay too.")
@click.option("--no-display", is_flag=True, help="No live display, only the answer.")
@click.option("--debug", is_flag=True, help="Tracebacks, and a detailed massgen.log.")
def replay(**options: Any) -> int:
    """Run a recorded run again: RUN is an id or a part of one, without it the newest recorded.

    The answers come from the cassette; no provider is called, no key is needed, and nothing is
    paid. A request that differs from the recorded one is named, with the place.
    """
    return _replay(ReplayOptions(**options))


def _replay(options: ReplayOptions) -> int:
    import sys
    from pathlib import Path

    from runner.cli.run import carry_out, make_observer, take_environ
    from runner.gateway.cassette import read_cassette
    from runner.gateway.replaying import ReplaySettings
    from runner.host.run_request import RunRequest
    from runner.host.tape import Replay

    cwd = Path.cwd()
    path = _cassette_path(options.run, cwd)
    shown = options.run if options.run and path == cwd / options.run else str(path)
    cassette = read_cassette(path, shown)
    loaded = _config(cassette, options, shown)
    observer = make_observer(loaded, automation=options.automation, display=not options.no_display)
    for note in cassette.notes:
        observer.noticed(f"Warning: {note}")
    request = RunRequest(
        config=loaded,
        question=options.question or cassette.header.question,
        cwd=cwd,
        environ=take_environ(loaded),
        cli_args=sys.argv[1:],
        debug=options.debug,
        ends_process=True,
        replay=Replay(cassette, ReplaySettings(speed=options.speed, strict=options.strict)),
    )
    return carry_out(request, observer)


def _cassette_path(run: str | None, cwd: "Path") -> "Path":
    """Return the cassette's path; raises ConfigurationError where a run was not recorded."""
    from runner.cli.places import here
    from runner.errors import ConfigurationError

    if run is not None and _names_file(cwd / run, run):
        return cwd / run
    store = here()
    if run is not None:
        found = store.find(run)
        if not found.cassette.exists():
            raise ConfigurationError(
                f"{found.run_id}: was not recorded: run it with --record, or runner.record: true"
            )
        return found.cassette
    for found in store.all():
        if found.cassette.exists():
            return found.cassette
    raise ConfigurationError(f"{store.runs}: no run here was recorded: run one with --record")


def _names_file(path: "Path", text: str) -> bool:
    try:
        return not path.is_dir() and ("/" in text or path.is_symlink() or path.exists())
    except (OSError, ValueError):
        return "/" in text


def _config(cassette: "Cassette", options: ReplayOptions, shown: str) -> "LoadedConfig":
    """Return the configuration to replay with: the recorded one, or the one that is named."""
    from pathlib import Path

    from runner.config.load import config_from_data, load_config

    record = f"runner.record={str(options.record).lower()}"
    overrides = [*options.overrides, record, "runner.cache=false"]
    if options.config is not None:
        return load_config(options.config, overrides, cwd=Path.cwd())
    data = dict(cassette.header.config)
    if isinstance(settings := data.get("runner"), dict):
        # Nothing is paid, so nothing can be overspent.
        data["runner"] = {key: value for key, value in settings.items() if key != "budget"}
    return config_from_data(data, shown, overrides)
