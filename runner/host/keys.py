"""Which keys are there, where they come from and who needs them. Runs on: host."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from runner.config.models import RunConfig
from runner.config.providers import PROVIDERS, Provider, base_url_for
from runner.errors import ConfigurationError
from runner.gateway.credentials import (
    Credential,
    CredentialRequest,
    CredentialSources,
    MissingCredentialError,
)
from runner.gateway.routes import Route, build_route
from runner.host.run_spec import credential_request

KeyState = Literal["found", "missing", "unusable", "not needed"]


class Key(NamedTuple):
    """The key of a provider, or of one agent of a configuration."""

    name: str
    provider: Provider
    base_url: str | None
    variables: Sequence[str]
    """Where it is looked for, in this order."""
    state: KeyState
    credential: Credential | None = None
    problem: str | None = None
    """Of a key that is missing or unusable: what, where, remedy. Never the value."""

    def route(self) -> Route | None:
        """Return where the key can be tried; None without a key or an address."""
        if self.credential is None or self.base_url is None:
            return None
        return build_route(
            self.name,
            self.provider,
            model="",
            base_url=self.base_url,
            credential=self.credential,
        )


def provider_keys(environ: Mapping[str, str], cwd: Path) -> Sequence[Key]:
    """Return a key for each provider of the table, in its order."""
    requests = [
        CredentialRequest(row.name, row, base_url=row.base_url) for row in PROVIDERS.values()
    ]
    return _keys(requests, environ, cwd)


def agent_keys(config: RunConfig, environ: Mapping[str, str], cwd: Path) -> Sequence[Key]:
    """Return a key for each agent of a configuration."""
    requests = [credential_request(agent) for agent in config.agents]
    return _keys(requests, environ, cwd)


def _keys(
    requests: Iterable[CredentialRequest], environ: Mapping[str, str], cwd: Path
) -> Sequence[Key]:
    sources = CredentialSources(environ, cwd)
    return [_key(request, sources) for request in requests]


def _key(request: CredentialRequest, sources: CredentialSources) -> Key:
    provider = request.provider
    address = base_url_for(provider, request.base_url)
    variables = request.variables()
    key = Key(request.agent_id, provider, address, variables, "not needed")
    try:
        credential = sources.find(request)
    except MissingCredentialError as error:
        return key._replace(state="missing", problem=str(error))
    except ConfigurationError as error:
        return key._replace(state="unusable", problem=str(error))
    return key._replace(state="found", credential=credential) if credential else key
