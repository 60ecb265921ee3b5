"""The environment of the programs that the host starts: without model keys. Runs on: host."""

from collections.abc import Iterable, Mapping

from runner.config.providers import PROVIDERS


def without_keys(environ: Mapping[str, str], named: Iterable[str] = ()) -> dict[str, str]:
    """Return `environ` without the variables that hold a model's key.

    These are the variables of the provider table, all others named …_API_KEY, and those `named`,
    which a configuration refers to. Credentials of other kinds stay: git, pip and a password
    store have their own use for them.
    """
    dropped = {variable for row in PROVIDERS.values() for variable in row.key_variables}
    dropped.update(named)
    return {
        name: value
        for name, value in environ.items()
        if name not in dropped and not name.upper().endswith("_API_KEY")
    }
