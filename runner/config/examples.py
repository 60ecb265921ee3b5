"""Configurations that come with the program, named `@examples/…`. Runs on: host."""

from pathlib import Path

from runner.config.problems import Problem, ProblemsError, nearest
from runner.config.resources import resource

EXAMPLE_PREFIX = "@examples"
_SUFFIXES = (".yaml", ".yml", ".json")


def list_examples() -> tuple[str, ...]:
    """Return every example as it can be given to `--config`, sorted."""
    root = resource("configs")
    files = (p.relative_to(root) for p in root.rglob("*") if p.suffix in _SUFFIXES)
    return tuple(sorted(f"{EXAMPLE_PREFIX}/{path.with_suffix('').as_posix()}" for path in files))


def find_example(name: str) -> Path:
    """Return the file of `@examples/basic/…`, with or without `configs/` and `.yaml`.

    Raises ProblemsError for a name that is none, `..` included.
    """
    wanted = name.removeprefix(EXAMPLE_PREFIX).lstrip("/").removeprefix("configs/")
    for suffix in _SUFFIXES:
        wanted = wanted.removesuffix(suffix)
    root = resource("configs")
    known = {example.removeprefix(f"{EXAMPLE_PREFIX}/"): example for example in list_examples()}
    if wanted in known:
        return next(p for s in _SUFFIXES if (p := root / f"{wanted}{s}").exists())
    close = nearest(wanted, tuple(known))
    remedy = close.replace("'", f"'{EXAMPLE_PREFIX}/", 1) or 'see "massgen --list-examples"'
    raise ProblemsError(Problem(name, None, "", "there is no such example", remedy))
