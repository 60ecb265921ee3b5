"""What a user wants no run, and no day, to exceed: budget.yaml. Runs on: host."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from runner.config.explain import findings
from runner.config.models import BudgetConfig, LimitsConfig
from runner.config.places import user_directory
from runner.config.problems import Problem, ProblemsError, dotted
from runner.config.source import decode, parse_text, read_file
from runner.config.values import ConfigPart
from runner.errors import ConfigurationError

BUDGET_FILE = "budget.yaml"


class StandingBudget(ConfigPart):
    """`~/.config/massgen/budget.yaml`."""

    per_run: BudgetConfig = BudgetConfig()
    """For every run whose own configuration does not say otherwise, key by key."""
    per_day: LimitsConfig = LimitsConfig()
    """For all runs together that this user starts on this machine on one day."""


class GivenBudget(NamedTuple):
    """A standing budget and where it stands, for messages."""

    budget: StandingBudget
    path: str


NO_STANDING_BUDGET = GivenBudget(StandingBudget(), BUDGET_FILE)


def standing_budget(environ: Mapping[str, str]) -> GivenBudget:
    """Return the user's standing budget, without limits where there is no such file.

    Raises ConfigurationError with every problem of the file.
    """
    home = user_directory(environ)
    if home is None or not os.path.lexists(home / BUDGET_FILE):
        return NO_STANDING_BUDGET
    path = home / BUDGET_FILE
    try:
        return GivenBudget(_read(path, str(path)), str(path))
    except ProblemsError as error:
        raise ConfigurationError(*map(str, error.problems)) from None


def _read(path: Path, shown: str) -> StandingBudget:
    document = parse_text(decode(read_file(path, shown), shown), shown)
    if document.data is None:
        return StandingBudget()
    if not isinstance(document.data, dict):
        remedy = "write per_run: {usd: 2} or per_day: {usd: 20}"
        raise ProblemsError(Problem(shown, 1, "", "is not a mapping", remedy))
    try:
        return StandingBudget.model_validate(document.data)
    except ValidationError as error:
        found = findings(error, document.data, document.plain, StandingBudget)
    raise ProblemsError(
        *(Problem(shown, document.line_of(f.path), dotted(f.path), f.what, f.remedy) for f in found)
    )


def with_standing(own: BudgetConfig, standing: BudgetConfig) -> BudgetConfig:
    """Return a run's own budget, what it leaves open filled in from the standing one."""
    return BudgetConfig(
        **_filled(own, standing),
        per_agent=LimitsConfig(**_filled(own.per_agent, standing.per_agent)),
    )


def _filled(own: LimitsConfig, standing: LimitsConfig) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for name in LimitsConfig.model_fields:
        given = getattr(own, name)
        limits[name] = getattr(standing, name) if given is None else given
    return limits
