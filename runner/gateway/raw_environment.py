"""The credentials that a configuration puts into an agent's container. Runs on: host.

They are the exception to "a credential never enters a container": `allow_raw` asks for it.

    raw_environment(agent, environ=os.environ, cwd=Path.cwd()) -> dict[str, Credential]

The caller reveals them for the container's environment, and has its Redactor learn them.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from runner.config.models import AgentConfig
from runner.config.network import MODEL_KEYS, RawCredentials
from runner.errors import ConfigurationError
from runner.gateway.credentials import Credential, CredentialSources


def raw_environment(
    agent: AgentConfig,
    *,
    environ: Mapping[str, str],
    cwd: Path,
    model_keys: Iterable[str] = (),
) -> dict[str, Credential]:
    """Return the variables of an agent's container, by name; none without `allow_raw`.

    `model_keys` are `RunConfig.key_variables`. Raises ConfigurationError with a problem for each
    variable that is missing or unusable, and for a model's key in `env_file`.
    """
    raw = agent.backend.raw_credentials
    if not raw.allow_raw:
        return {}
    sources = CredentialSources(environ, cwd)
    problems: list[str] = []
    found = _from_file(raw, sources, agent.id, {*MODEL_KEYS, *model_keys}, problems)
    for variable in raw.env_vars:
        try:
            found[variable] = sources.named(variable, f"the container of {agent.id}")
        except ConfigurationError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigurationError(*problems)
    return found


def _from_file(
    raw: RawCredentials,
    sources: CredentialSources,
    agent_id: str,
    refused: set[str],
    problems: list[str],
) -> dict[str, Credential]:
    if raw.env_file is None:
        return {}
    where = f"{agent_id}: {raw.env_file}"
    values = sources.file(raw.env_file)
    wanted = raw.env_vars_from_file or tuple(values)
    problems += (
        f"{where} has no {n}: correct env_vars_from_file"
        for n in wanted
        if not values.get(n) and raw.env_vars_from_file
    )
    keys = sorted(refused & set(wanted) & set(values))
    if keys:
        problems.append(
            f"{where} has a model's key in it ({', '.join(keys)}), which goes into no container: "
            "name the variables to take by env_vars_from_file"
        )
    return {
        name: Credential(values[name], variable=name, source=raw.env_file)
        for name in wanted
        if values.get(name) and name not in refused
    }
