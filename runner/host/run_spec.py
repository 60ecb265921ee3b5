"""A configuration's two halves: what the container is told, and where its calls go. Runs on: host.

The container learns names and settings; addresses and credentials stay in the routes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runner.config.models import AgentConfig, RunConfig
from runner.config.providers import Provider, base_url_for
from runner.config.specs import agent_spec, coordination_spec
from runner.contract.spec import AgentTools, RunSpec
from runner.gateway.credentials import Credential, CredentialRequest, load_credentials
from runner.gateway.routes import UNIX_SCHEME, Route, build_route
from runner.host.run_store import NewRun

if TYPE_CHECKING:
    from runner.gateway.pricing import Price

LOCAL = "local"
_REPLAYED_LOCAL = f"{UNIX_SCHEME}://replay/v1"
"""In place of the local model's socket: nothing listens there, and nothing asks."""


class AgentRoute(NamedTuple):
    """Where an agent's calls go; the local model's address is known once its server runs."""

    agent_id: str
    provider: Provider
    model: str
    base_url: str | None
    credential: Credential | None

    @property
    def is_local(self) -> bool:
        return self.provider.name == LOCAL and self.base_url is None

    def served_by(self, base_url: str, api_key: str | None) -> "AgentRoute":
        """Return the route to the local model's server at `base_url`."""
        credential = (
            Credential(api_key, variable="api_key", source="the local model's server")
            if api_key
            else None
        )
        return self._replace(base_url=base_url, credential=credential)

    def route(self) -> Route:
        """Return the gateway's route."""
        return build_route(
            self.agent_id,
            self.provider,
            model=self.model,
            base_url=self.base_url,
            credential=self.credential,
        )


def agent_routes(
    config: RunConfig, *, environ: Mapping[str, str], cwd: Path
) -> tuple[AgentRoute, ...]:
    """Return every agent's route with its credential.

    Raises ConfigurationError naming each credential that is missing.
    """
    requests = [credential_request(agent) for agent in config.agents]
    credentials = load_credentials(requests, environ=environ, cwd=cwd)
    return tuple(
        AgentRoute(
            agent.id,
            agent.backend.provider,
            agent.backend.model,
            base_url_for(agent.backend.provider, agent.backend.base_url),
            credentials[agent.id],
        )
        for agent in config.agents
    )


def replayed_routes(config: RunConfig) -> tuple[AgentRoute, ...]:
    """Return the routes of a run that calls nobody: no credential is looked for."""
    return tuple(
        AgentRoute(
            agent.id,
            agent.backend.provider,
            agent.backend.model,
            _REPLAYED_LOCAL
            if agent.backend.provider.name == LOCAL
            else base_url_for(agent.backend.provider, agent.backend.base_url),
            None,
        )
        for agent in config.agents
    )


def credential_request(agent: AgentConfig) -> CredentialRequest:
    """Return what an agent's calls need."""
    backend = agent.backend
    return CredentialRequest(
        agent_id=agent.id,
        provider=backend.provider,
        reference=backend.api_key or None,
        base_url=backend.base_url,
    )


def context_windows(
    config: RunConfig, prices: "Callable[[], Mapping[str, Price]]"
) -> dict[str, int]:
    """Return how many tokens the models of agents that act can take, where that is known.

    The others' conversations are short: the price list, which takes a while, is left alone.
    """
    found: dict[str, int] = {}
    for agent in config.agents:
        backend = agent.backend
        known = backend.context_tokens or backend.provider.context_tokens
        if known is None and backend.acts:
            price = prices().get(agent.id)
            known = price.context_tokens if price else None
        if known is not None:
            found[agent.id] = known
    return found


def run_spec(
    config: RunConfig,
    new: NewRun,
    question: str,
    image: str,
    *,
    tools: Mapping[str, AgentTools],
    windows: Mapping[str, int],
    debug: bool,
    start_time: float,
) -> RunSpec:
    """Return what the run container is to do; `windows` is what models take, in tokens."""
    limits = config.runner.tools.model_dump()
    limited = {name: given.model_copy(update=limits) for name, given in tools.items()}
    return RunSpec(
        run_id=new.run_id,
        root_run_id=new.run_id,
        session_id=new.log.root.name,
        log_dir=str(new.log.root),
        question=question,
        start_time=start_time,
        deadline=start_time + config.orchestrator_timeout_seconds,
        image=image,
        agents=tuple(
            agent_spec(agent, limited.get(agent.id), windows.get(agent.id))
            for agent in config.agents
        ),
        coordination=coordination_spec(config),
        debug=debug,
    )
