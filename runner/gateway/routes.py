"""Where an agent's model calls go, and with which headers. Runs on: host."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from runner.config.providers import Provider
from runner.contract.spec import Dialect
from runner.errors import ConfigurationError
from runner.gateway.credentials import Credential

_ENDPOINTS: Mapping[Dialect, str] = {"chat": "/chat/completions", "messages": "/messages"}


class Route(NamedTuple):
    """The one way out for an agent: a provider's address and model, and the credential."""

    agent_id: str
    provider: Provider
    url: str
    model: str
    credential: Credential | None = None

    @property
    def dialect(self) -> Dialect:
        return self.provider.dialect

    @property
    def origin(self) -> str:
        """Scheme, host and port, for messages to people."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def headers(self) -> dict[str, str]:
        """Return the provider's headers with the credential: for the request, not for logs."""
        return {**self.provider.headers, **_authorization(self.provider, self.credential)}


def build_route(
    agent_id: str,
    provider: Provider,
    *,
    model: str,
    base_url: str | None,
    credential: Credential | None,
) -> Route:
    """Return the route of an agent; `base_url` is the address in effect, with the version path.

    A query (`?api-version=…`) is kept, and an address that names the endpoint already is taken as
    it is. Raises ConfigurationError for an address that cannot be called.
    """
    url = _endpoint(agent_id, base_url or provider.base_url, _ENDPOINTS[provider.dialect])
    return Route(agent_id, provider, url, model, credential)


def _authorization(provider: Provider, credential: Credential | None) -> dict[str, str]:
    if credential is None or provider.auth == "none":
        return {}
    if provider.auth == "bearer":
        return {"Authorization": f"Bearer {credential.reveal()}"}
    return {provider.auth: credential.reveal()}


def _endpoint(agent_id: str, base_url: str | None, endpoint: str) -> str:
    if base_url is None:
        raise ConfigurationError(f"{agent_id}: base_url: missing: say where the provider is")
    try:
        parts = urlsplit(base_url)
        callable_address = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        callable_address = False
        parts = urlsplit("")
    if not callable_address:
        raise ConfigurationError(
            f"{agent_id}: base_url: not an address: write http(s)://HOST[:PORT]/PATH"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            f"{agent_id}: base_url: holds a user or password: give it by api_key instead"
        )
    path = parts.path.rstrip("/")
    if not path.endswith(endpoint):
        path += endpoint
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
