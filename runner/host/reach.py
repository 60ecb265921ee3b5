"""What the agents of a run reach besides their models, and with which credentials. Runs on: host.

Settled before anything starts: a credential that is missing ends no run half-way.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from runner.config.egress_rules import EgressRules
from runner.config.models import AgentConfig, RunConfig
from runner.config.network_checks import egress_rules, has_raw_bridge
from runner.errors import ConfigurationError
from runner.gateway.credentials import Credential
from runner.gateway.raw_environment import raw_environment
from runner.gateway.service_credentials import Service, load_services, service_secrets


class AgentReach(NamedTuple):
    """What one agent reaches. No value of a credential is in its `repr`."""

    services: tuple[str, ...] = ()
    """Names of the services on its socket."""
    rules: EgressRules = EgressRules()
    """What it reaches through the proxy; without a rule it has none."""
    raw: Mapping[str, Credential] = MappingProxyType({})
    """Variables of its container that hold credentials as they are."""
    is_bridged: bool = False
    """Its container is on the engine's own bridge, and so needs no proxy."""


class Reach(NamedTuple):
    """What the acting agents of a run reach."""

    agents: Mapping[str, AgentReach]
    services: Mapping[str, Service] | None = None
    """None in a replay, which has no credentials: its agents are told so."""

    def secrets(self) -> Iterator[str]:
        """Yield every credential, for a Redactor to learn."""
        yield from service_secrets(self.services or {})
        for agent in self.agents.values():
            yield from (credential.reveal() for credential in agent.raw.values())


def reach_of(
    config: RunConfig, *, environ: Mapping[str, str], cwd: Path, is_replay: bool = False
) -> Reach:
    """Return what the acting agents reach; credentials that none of them uses are not looked up.

    Raises ConfigurationError with a problem for each credential that is missing or unusable. A
    replay needs none.
    """
    acting = [agent for agent in config.agents if agent.backend.acts]
    configured = config.runner.services if acting else {}
    problems: list[str] = []
    services: Mapping[str, Service] | None = None
    raw: dict[str, Mapping[str, Credential]] = {}
    if not is_replay:
        try:
            services = load_services(configured, environ=environ, cwd=cwd)
        except ConfigurationError as error:
            problems.extend(error.problems)
        for agent in acting:
            try:
                raw[agent.id] = raw_environment(
                    agent, environ=environ, cwd=cwd, model_keys=config.key_variables
                )
            except ConfigurationError as error:
                problems.extend(error.problems)
    if problems:
        raise ConfigurationError(*problems)
    names = tuple(configured)
    return Reach(
        {agent.id: _agent_reach(config, agent, names, raw.get(agent.id, {})) for agent in acting},
        services,
    )


def _agent_reach(
    config: RunConfig, agent: AgentConfig, services: tuple[str, ...], raw: Mapping[str, Credential]
) -> AgentReach:
    is_bridged = has_raw_bridge(config, agent)
    rules = EgressRules() if is_bridged else egress_rules(config, agent)
    return AgentReach(services, rules, raw, is_bridged)
