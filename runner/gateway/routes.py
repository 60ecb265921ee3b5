"""Where an agent's model calls go, and with which headers. Runs on: host."""

from collections.abc import Mapping, Set
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from runner.config.providers import Provider
from runner.contract.agent_socket import AgentDialect
from runner.contract.spec import Dialect
from runner.errors import ConfigurationError
from runner.gateway.credentials import Credential

UNIX_SCHEME = "http+unix"
"""Of an address whose host is the quoted path of a Unix socket: the local model's."""
_ENDPOINTS: Mapping[Dialect, str] = {"chat": "/chat/completions", "messages": "/messages"}


class Route(NamedTuple):
    """The one way out for an agent: a provider's address and model, and the credential."""

    agent_id: str
    provider: Provider
    url: str
    model: str
    credential: Credential | None = None
    native_gemini: bool = False
    """Calls are of Gemini's own API, not of the provider's dialect."""

    @property
    def dialect(self) -> AgentDialect:
        return "gemini" if self.native_gemini else self.provider.dialect

    @property
    def unix_socket(self) -> str | None:
        """Path of the Unix socket behind which the provider is, None where it is on a network."""
        parts = urlsplit(self.url)
        return unquote(parts.netloc) if parts.scheme == UNIX_SCHEME else None

    @property
    def request_url(self) -> str:
        """What is asked for over the connection; a socket needs a host's name all the same."""
        if self.unix_socket is None:
            return self.url
        return urlsplit(self.url)._replace(scheme="http", netloc="localhost").geturl()

    @property
    def key_check_url(self) -> str:
        """What is asked for to try the credential; it stands beside the endpoint."""
        parts = urlsplit(self.request_url)
        base = parts.path.removesuffix(_ENDPOINTS[self.provider.dialect])
        return parts._replace(path=base + self.provider.key_check_path).geturl()

    @property
    def origin(self) -> str:
        """Scheme, host and port, for messages to people."""
        if path := self.unix_socket:
            return path
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
    schemes = {UNIX_SCHEME} if provider.name == "local" else {"http", "https"}
    address = base_url or provider.base_url
    url = _endpoint(agent_id, address, _ENDPOINTS[provider.dialect], schemes)
    return Route(agent_id, provider, url, model, credential)


def _authorization(provider: Provider, credential: Credential | None) -> dict[str, str]:
    if credential is None or provider.auth == "none":
        return {}
    if provider.auth == "bearer":
        return {"Authorization": f"Bearer {credential.reveal()}"}
    return {provider.auth: credential.reveal()}


def _endpoint(agent_id: str, base_url: str | None, endpoint: str, schemes: Set[str]) -> str:
    if base_url is None:
        raise ConfigurationError(f"{agent_id}: base_url: missing: say where the provider is")
    try:
        parts = urlsplit(base_url)
        callable_address = parts.scheme in schemes and bool(parts.hostname)
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
