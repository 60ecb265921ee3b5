"""Carry out what the options of `massgen` say. Runs on: host."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from runner.cli.edge import edge_of_process
from runner.cli.question import read_question
from runner.config.load import LoadedConfig, config_from_flags, find_default_config, load_config
from runner.errors import ConfigurationError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from runner.host.observer import RunObserver
    from runner.host.run_request import ReadyEngine, RunRequest


class Options(BaseModel):
    """The command line of `massgen`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str | None
    config: str | None
    automation: bool
    model: str | None
    backend: str | None
    system_message: str | None
    orchestrator_timeout: float | None
    budget_usd: float | None
    overrides: tuple[str, ...]
    validated: str | None
    strict: bool
    as_json: bool
    list_examples: bool
    no_display: bool
    no_logs: bool
    record: bool
    cache: bool
    keep_container: bool
    debug: bool


def massgen_run(options: Options) -> int:
    """Return the process's exit code."""
    if options.list_examples:
        return _list_examples()
    if options.validated is not None:
        return _validate(options)
    return _run(options)


def _list_examples() -> int:
    import click

    from runner.config.examples import list_examples

    for name in list_examples():
        click.echo(name)
    return 0


def _validate(options: Options) -> int:
    from runner.cli.validate import validate

    path = options.validated or options.config or options.question
    if not path:
        raise ConfigurationError("--validate: no file given: massgen --validate FILE")
    return validate(path, strict=options.strict, as_json=options.as_json)


def _run(options: Options) -> int:
    question = read_question(options.question)
    cwd = _working_directory()
    loaded = load(options, cwd)
    from runner.host.launch import engine_in_background
    from runner.host.run_request import RunRequest

    _check_record(options, loaded)
    environ = take_environ(loaded)
    engine = engine_in_background(os.environ, loaded.config.runner.image)
    request = RunRequest(
        config=loaded,
        question=question,
        cwd=cwd,
        environ=environ,
        cli_args=sys.argv[1:],
        keep_container=options.keep_container,
        keep_log=loaded.config.runner.record
        or options.automation
        or not (options.no_logs or not _wants_log(loaded)),
        debug=options.debug,
        ends_process=True,
    )
    observer = make_observer(loaded, automation=options.automation, display=not options.no_display)
    for warning in loaded.warnings:
        observer.noticed(f"Warning: {warning}")
    return carry_out(request, observer, engine)


def take_environ(loaded: LoadedConfig) -> Mapping[str, str]:
    """Return the environment of this process, which goes on without keys.

    So the programs that libraries start, such as Docker's credential helpers, get none either.
    """
    from runner.config.child_environment import without_keys

    environ = dict(os.environ)
    for name in environ.keys() - without_keys(environ, loaded.config.key_variables).keys():
        del os.environ[name]
    return environ


def carry_out(
    request: "RunRequest", observer: "RunObserver", engine: "Future[ReadyEngine] | None" = None
) -> int:
    """Return the exit code of a run, whose keys are kept out of everything that is printed."""
    from runner.gateway.redaction import Redactor
    from runner.host.launch import run
    from runner.host.masked_output import masked_log

    redactor = Redactor()
    edge_of_process().redact = redactor
    with masked_log(redactor):
        finished = run(request._replace(redactor=redactor), observer, engine)
    return int(finished.outcome.exit_code)


def _check_record(options: Options, loaded: LoadedConfig) -> None:
    if options.no_logs and loaded.config.runner.record and not options.automation:
        raise ConfigurationError(
            "--no-logs: together with --record (or runner.record): the cassette is kept with the "
            "run: leave one of the two out"
        )


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigurationError(
            f"the working directory is gone ({error.strerror}): change to one that exists"
        ) from error


def load(options: Options, cwd: Path) -> LoadedConfig:
    """Return the configuration that the options name, overridden as they say.

    Raises ConfigurationError with every problem at once.
    """
    overrides = list(options.overrides)
    if options.orchestrator_timeout is not None:
        seconds = options.orchestrator_timeout
        overrides.append(f"timeout_settings.orchestrator_timeout_seconds={seconds!r}")
    if options.budget_usd is not None:
        overrides.append(f"runner.budget.usd={options.budget_usd!r}")
    if options.record:
        overrides.append("runner.record=true")
    if options.cache:
        overrides.append("runner.cache=true")
    if options.config is not None:
        if options.model or options.backend or options.system_message:
            raise ConfigurationError(
                "--config: together with --model, --backend or --system-message: use --set "
                "agents.0.backend.model=NAME to change what the file says"
            )
        return load_config(options.config, overrides, cwd=cwd)
    if options.model is not None or options.backend is not None:
        return config_from_flags(options.backend, options.model, options.system_message, overrides)
    return load_config(find_default_config(cwd, os.environ), overrides, cwd=cwd)


def _wants_log(loaded: LoadedConfig) -> bool:
    return loaded.config.ui.logging_enabled


def make_observer(loaded: LoadedConfig, *, automation: bool, display: bool) -> "RunObserver":
    """Return what shows the run: lines for scripts, lines for people, or the live display."""
    if automation:
        from runner.report.automation import AutomationLines

        return AutomationLines()
    from runner.report.display import LiveDisplay, PlainDisplay

    kind = loaded.config.ui.display_type
    if not display or kind == "silent":
        return PlainDisplay(progress=False)
    if kind == "simple" or not sys.stderr.isatty():
        return PlainDisplay(progress=True)
    return LiveDisplay()
