"""Prices that the user gives, for every run or for one. Runs on: host."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from runner.config.explain import findings
from runner.config.models import PriceConfig, RunConfig, RunnerConfig
from runner.config.places import user_directory
from runner.config.problems import Problem, ProblemsError, dotted
from runner.config.source import decode, parse_text, read_file
from runner.config.tree import Document
from runner.errors import ConfigurationError

PRICE_FILE = "prices.yaml"


class OwnPrice(NamedTuple):
    """A price as its user wrote it, and where."""

    price: PriceConfig
    source: str


OwnPrices = Mapping[str, OwnPrice]
"""By `PROVIDER/MODEL`, or `PROVIDER/*` for all other models of a provider."""


def own_prices(config: RunConfig, shown: str, environ: Mapping[str, str]) -> OwnPrices:
    """Return the prices of the user's file, those of a configuration on top.

    `shown` names the configuration. Raises ConfigurationError with every problem of the file.
    """
    named = config.runner.prices.items()
    return {
        **user_prices(environ),
        **{name: OwnPrice(price, f"{shown}: runner.prices") for name, price in named},
    }


def user_prices(environ: Mapping[str, str]) -> OwnPrices:
    """Return the prices in `~/.config/massgen/prices.yaml`; none where there is no such file.

    Raises ConfigurationError with every problem of the file.
    """
    home = user_directory(environ)
    if home is None or not os.path.lexists(home / PRICE_FILE):
        return {}
    path = home / PRICE_FILE
    try:
        return {name: OwnPrice(price, str(path)) for name, price in _read(path).items()}
    except ProblemsError as error:
        raise ConfigurationError(*map(str, error.problems)) from None


def _read(path: Path) -> Mapping[str, PriceConfig]:
    shown = str(path)
    if not path.exists():
        what = "is a link to a file that is not there"
        raise ProblemsError(Problem(shown, None, "", what, "mend the link or remove it"))
    document = parse_text(decode(read_file(path, shown), shown), shown)
    if document.data is None:
        return {}
    if not isinstance(document.data, dict):
        remedy = "write PROVIDER/MODEL: {input: 1.25, output: 10}"
        raise ProblemsError(Problem(shown, 1, "", "is not a mapping of models to prices", remedy))
    return _checked(document, shown)


def _checked(document: Document, shown: str) -> Mapping[str, PriceConfig]:
    data = {"prices": document.data}
    plain = {("prices", *path): text for path, text in document.plain.items()}
    try:
        return RunnerConfig.model_validate(data).prices
    except ValidationError as error:
        found = [f._replace(path=f.path[1:]) for f in findings(error, data, plain, RunnerConfig)]
    problems = (
        Problem(shown, document.line_of(f.path), dotted(f.path), f.what, f.remedy) for f in found
    )
    raise ProblemsError(*sorted(problems, key=lambda problem: problem.line or 0))
