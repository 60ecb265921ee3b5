"""What a user wants in every run: `~/.config/massgen/runner.yaml`. Runs on: host."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from runner.config.explain import findings
from runner.config.models import RateLimitConfig, RateLimits, RunConfig
from runner.config.places import user_directory
from runner.config.problems import Problem, ProblemsError, dotted
from runner.config.source import decode, parse_text, read_file
from runner.config.tree import Document
from runner.config.values import ConfigPart, wrong
from runner.errors import ConfigurationError

SETTINGS_FILE = "runner.yaml"
_MAX_WORDS = 64


def _command(value: Any) -> Any:
    if isinstance(value, str):
        raise wrong("is a text", "write a list: [pass, show, llm/{name}]; there is no shell")
    return tuple(value) if isinstance(value, list) else value


def _words(value: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(value) <= _MAX_WORDS or not value[0] or any("\0" in word for word in value):
        raise wrong(f"is no command (allowed: a program and at most {_MAX_WORDS - 1} arguments)")
    return value


Command = Annotated[tuple[str, ...], BeforeValidator(_command), AfterValidator(_words)]


class OwnSettings(ConfigPart):
    """The keys of the user's own file."""

    credential_command: Annotated[Command | None, Field()] = None
    """Prints the credential whose variable stands for `{name}`, else at the end."""
    rate_limits: RateLimits = Field(default_factory=dict)
    """`PROVIDER`: what it allows on a key."""


def own_settings(environ: Mapping[str, str]) -> OwnSettings:
    """Return the settings in `~/.config/massgen/runner.yaml`; the defaults without such a file.

    Raises ConfigurationError with every problem of the file.
    """
    home = user_directory(environ)
    if home is None or not os.path.lexists(home / SETTINGS_FILE):
        return OwnSettings()
    try:
        return _read(home / SETTINGS_FILE)
    except ProblemsError as error:
        raise ConfigurationError(*map(str, error.problems)) from None


def rate_limits(config: RunConfig, environ: Mapping[str, str]) -> Mapping[str, RateLimitConfig]:
    """Return what counts for a run by provider: the stricter of its configuration and the user.

    Raises ConfigurationError with every problem of the user's file.
    """
    own, given = own_settings(environ).rate_limits, config.runner.rate_limits
    none = RateLimitConfig()
    return {
        name: _stricter(own.get(name, none), given.get(name, none))
        for name in {*own, *given} & {agent.backend.type for agent in config.agents}
    }


def _stricter(one: RateLimitConfig, other: RateLimitConfig) -> RateLimitConfig:
    limits = {
        name: min(x for x in (getattr(one, name), getattr(other, name)) if x is not None)
        for name in RateLimitConfig.model_fields
        if getattr(one, name) is not None or getattr(other, name) is not None
    }
    return RateLimitConfig(**limits)


def _read(path: Path) -> OwnSettings:
    shown = str(path)
    if not path.exists():
        what = "is a link to a file that is not there"
        raise ProblemsError(Problem(shown, None, "", what, "mend the link or remove it"))
    document = parse_text(decode(read_file(path, shown), shown), shown)
    if document.data is None:
        return OwnSettings()
    if not isinstance(document.data, dict):
        raise ProblemsError(Problem(shown, 1, "", "is not a mapping of keys"))
    return _checked(document, shown)


def _checked(document: Document, shown: str) -> OwnSettings:
    try:
        return OwnSettings.model_validate(document.data)
    except ValidationError as error:
        found = findings(error, document.data, document.plain, OwnSettings)
    problems = (
        Problem(shown, document.line_of(f.path), dotted(f.path), f.what, f.remedy) for f in found
    )
    raise ProblemsError(*sorted(problems, key=lambda problem: problem.line or 0))
