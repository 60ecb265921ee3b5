"""The services of a run with their credentials, looked up as models' keys are. Runs on: host."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from runner.config.network import ServiceConfig
from runner.config.secrets import REFERENCE
from runner.config.service_rules import PathPattern
from runner.errors import ConfigurationError
from runner.gateway.credentials import Credential, CredentialSources


class Service(NamedTuple):
    """A service that can be asked. No value of a credential is in its `repr`."""

    name: str
    url: str
    """Without a slash at the end."""
    headers: Mapping[str, str]
    """As the configuration has them."""
    credentials: Mapping[str, Credential]
    """By the variable that the headers refer to."""
    methods: tuple[str, ...]
    patterns: tuple[PathPattern, ...]

    def revealed_headers(self) -> dict[str, str]:
        """Return the headers with the credentials in them."""
        return {
            name: REFERENCE.sub(lambda match: self.credentials[match[1]].reveal(), value)
            for name, value in self.headers.items()
        }


def load_services(
    configured: Mapping[str, ServiceConfig], *, environ: Mapping[str, str], cwd: Path
) -> dict[str, Service]:
    """Return the services of a configuration by name.

    Raises ConfigurationError with a problem for each credential that is missing or unusable.
    """
    sources = CredentialSources(environ, cwd)
    problems: list[str] = []
    services = {
        name: Service(
            name,
            config.url,
            config.headers,
            _credentials(name, config, sources, problems),
            config.methods,
            config.patterns,
        )
        for name, config in configured.items()
    }
    if problems:
        raise ConfigurationError(*problems)
    return services


def service_secrets(services: Mapping[str, Service]) -> Iterator[str]:
    """Yield every credential of the services, for a Redactor to learn."""
    for service in services.values():
        yield from (credential.reveal() for credential in service.credentials.values())


def _credentials(
    name: str, config: ServiceConfig, sources: CredentialSources, problems: list[str]
) -> dict[str, Credential]:
    found: dict[str, Credential] = {}
    for variable in config.variables:
        try:
            found[variable] = sources.named(variable, f"the service {name}")
        except ConfigurationError as error:
            problems.extend(f"runner.services.{name}: {problem}" for problem in error.problems)
    return found
