"""What single values do not show of networks, services and raw credentials. Runs on: host."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from runner.config.address import is_near
from runner.config.egress_rules import EgressRules
from runner.config.models import AgentConfig, BackendConfig, RunConfig
from runner.config.network import BRIDGE, model_key_error
from runner.config.problems import Finding, KeyPath, listed

_CREDENTIALS = "command_line_docker_credentials"
_MODE = "command_line_docker_network_mode"


def egress_rules(config: RunConfig, agent: AgentConfig) -> EgressRules:
    """Return what an agent may reach through the proxy.

    That is the run's `allow`, all web sites besides with `bridge`, and nothing with `none` that
    is written down.
    """
    mode = agent.backend.command_line_docker_network_mode
    if mode == "none":
        return EgressRules()
    allowed = config.runner.network.rules.rules
    more = BRIDGE.rules if mode == "bridge" else ()
    return EgressRules(tuple(dict.fromkeys((*allowed, *more))))


def has_raw_bridge(config: RunConfig, agent: AgentConfig) -> bool:
    """Tell whether an agent's container is to be on the engine's own bridge."""
    is_bridged = agent.backend.command_line_docker_network_mode == "bridge"
    return is_bridged and config.runner.network.raw_bridge


def raw_findings(backend: BackendConfig, path: KeyPath) -> Iterator[Finding]:
    """Yield raw credentials that nobody has agreed to, and what does not fit together."""
    raw = backend.raw_credentials
    where = (*path, _CREDENTIALS)
    if raw.env_vars_from_file and not raw.env_file:
        yield Finding((*where, "env_vars_from_file"), "there is no env_file", "name it")
    if raw.allow_raw or not raw.is_used:
        return
    for key in ("env_vars", "env_file", "env_vars_from_file"):
        if getattr(raw, key):
            what = "would put credentials into the agent's container, where it can read them"
            yield Finding((*where, key), what, _remedy(raw.variables))
            return


def _remedy(variables: tuple[str, ...]) -> str:
    name = next(iter(variables), "NAME")
    service = "{github: {url: https://api.github.com, paths: [/repos/**], headers: "
    return (
        f'let the host add them: runner.services: {service}{{Authorization: "Bearer ${{{name}}}"'
        "}}}; or, if the agents may have them, write allow_raw: true beside it"
    )


def network_findings(config: RunConfig) -> Iterator[Finding]:
    """Yield models' keys, by the names that the agents give them, that are to go elsewhere."""
    for name, service in config.runner.services.items():
        for header, value in service.headers.items():
            for variable in config.key_variables & set(service.variables):
                if f"${{{variable}}}" in value:
                    path = ("runner", "services", name, "headers", header)
                    yield _model_key(path, variable)
    for index, agent in enumerate(config.agents):
        raw = agent.backend.raw_credentials
        for variable in config.key_variables & set(raw.variables):
            yield _model_key(("agents", index, "backend", _CREDENTIALS), variable)


def _model_key(path: KeyPath, variable: str) -> Finding:
    error = model_key_error(variable).context or {}
    return Finding(path, error["what"], error["remedy"])


def network_warnings(config: RunConfig) -> Iterator[Finding]:
    """Yield what is carried out, and is a risk."""
    for index, agent in enumerate(config.agents):
        path = ("agents", index, "backend")
        raw = agent.backend.raw_credentials
        if raw.is_used and raw.allow_raw:
            names = listed(raw.variables) or f"all of {raw.env_file}"
            what = f"the agent can read these credentials and pass them on: {names}"
            yield Finding((*path, _CREDENTIALS), what, "runner.services keeps them on the host")
        if has_raw_bridge(config, agent):
            what = (
                "with runner.network.raw_bridge the agent reaches your network and this machine's "
                "services, unfiltered and unlogged"
            )
            yield Finding((*path, _MODE), what, "leave raw_bridge out: bridge means all web sites")
    yield from _unused(config)
    for name, service in config.runner.services.items():
        url = urlsplit(service.url)
        if url.scheme == "http" and service.variables and not is_near(url):
            where = ("runner", "services", name, "url")
            yield Finding(
                where, "the credential travels unencrypted to another machine", "https://"
            )


def _unused(config: RunConfig) -> Iterator[Finding]:
    bridged = any(has_raw_bridge(config, agent) for agent in config.agents)
    if config.runner.network.raw_bridge and not bridged:
        what = f"has no effect: no agent has {_MODE}: bridge"
        yield Finding(("runner", "network", "raw_bridge"), what)
