"""The way to the local model: over its Unix socket, and only for the provider `local`."""

from pathlib import Path
from urllib.parse import quote

import pytest

from runner.config.providers import PROVIDERS
from runner.errors import ConfigurationError
from runner.gateway.routes import Route, build_route
from tests.gateway.serving import MODEL, run, served
from tests.support.provider import Provider, Script, Status, Text


def local_route(path: Path, provider: str = "local") -> Route:
    """Return a route whose address is a Unix socket."""
    address = f"http+unix://{quote(str(path), safe='')}/v1"
    return build_route(
        "agent_a", PROVIDERS[provider], model=MODEL, base_url=address, credential=None
    )


def test_answers_come_over_the_unix_socket(tmp_path: Path) -> None:
    """A path with capitals and spaces is reached, and its answer arrives whole."""
    path = tmp_path / "The Model.sock"

    async def scenario() -> None:
        async with served(tmp_path, local_route(path)) as it:
            answer = await it.container.ask()
        assert answer.status == 200
        assert b"forty-two" in answer.body

    with Provider(Script.always(Text("forty-two")), unix_path=path) as provider:
        run(scenario())
        [seen] = provider.requests
        assert seen.header("Authorization") is None


def test_messages_name_the_socket(tmp_path: Path) -> None:
    """A failure says which socket it was, unquoted."""
    path = tmp_path / "model.sock"

    async def scenario() -> None:
        async with served(tmp_path, local_route(path)) as it:
            refused = await it.container.ask()
        assert f"local at {path} answered 400" in refused.error.message

    with Provider(Script.always(Status(400)), unix_path=path):
        run(scenario())


def test_no_other_provider_is_at_a_socket(tmp_path: Path) -> None:
    """An address of that kind for another provider (the engine's socket, say) is refused."""
    with pytest.raises(ConfigurationError, match="base_url: not an address"):
        local_route(tmp_path / "docker.sock", provider="chatcompletion")
