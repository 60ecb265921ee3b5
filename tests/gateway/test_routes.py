"""Addresses and headers of model calls."""

import pytest

from runner.config.providers import PROVIDERS
from runner.errors import ConfigurationError
from runner.gateway.credentials import Credential
from runner.gateway.routes import Route, build_route

KEY = "planted-0123456789"


def route(provider: str, base_url: str | None = None) -> Route:
    credential = Credential(KEY, variable="A_KEY", source="the environment")
    return build_route(
        "agent_a", PROVIDERS[provider], model="m", base_url=base_url, credential=credential
    )


@pytest.mark.parametrize("name", [row.name for row in PROVIDERS.values() if row.base_url])
def test_every_provider_of_the_table_has_a_route(name: str) -> None:
    """The table's address with the path of the dialect."""
    provider = PROVIDERS[name]
    end = "/messages" if provider.dialect == "messages" else "/chat/completions"
    assert route(name).url == f"{provider.base_url}{end}"


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://h:1/v1/", "http://h:1/v1/chat/completions"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        ("https://h/d/x?api-version=1", "https://h/d/x/chat/completions?api-version=1"),
        ("https://[::1]:8/v1", "https://[::1]:8/v1/chat/completions"),
        ("http://h", "http://h/chat/completions"),
    ],
)
def test_the_endpoint_is_put_before_the_query(base_url: str, url: str) -> None:
    """Slashes, queries and addresses that name the endpoint already give the right one."""
    assert route("chatcompletion", base_url).url == url


@pytest.mark.parametrize(
    "base_url", [None, "", "h:1/v1", "ftp://h/v1", "http://", "http://h:99999/", "http://[x/v1"]
)
def test_what_is_no_address_is_a_configuration_error(base_url: str | None) -> None:
    """An address that cannot be called is told before anything starts."""
    with pytest.raises(ConfigurationError, match="agent_a: base_url"):
        route("chatcompletion", base_url)


def test_a_password_in_the_address_is_refused_without_being_shown() -> None:
    """Credentials go by api_key, where they are kept out of logs."""
    with pytest.raises(ConfigurationError) as caught:
        route("chatcompletion", f"http://me:{KEY}@h/v1")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "header", "value"),
    [
        ("openai", "Authorization", f"Bearer {KEY}"),
        ("claude", "x-api-key", KEY),
        ("azure_openai", "api-key", KEY),
    ],
)
def test_the_key_travels_in_the_providers_own_header(
    provider: str, header: str, value: str
) -> None:
    """One header with the key, beside those that the table names."""
    it = route(provider, "https://h/v1")
    assert it.headers() == {**PROVIDERS[provider].headers, header: value}


def test_a_route_does_not_show_the_key() -> None:
    """Routes may be logged."""
    assert KEY not in repr(route("openai"))
