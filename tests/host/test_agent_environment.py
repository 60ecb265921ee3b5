"""Which variables an agent's container gets."""

import pytest

from runner.config.providers import PROVIDERS
from runner.host.agent_environment import agent_environment


def test_an_agent_whose_provider_speaks_chat() -> None:
    """It gets the OpenAI SDK's variables, a placeholder as key, and nothing else."""
    assert agent_environment(PROVIDERS["groq"]) == {
        "OPENAI_BASE_URL": "http://127.0.0.1:8700/v1",
        "OPENAI_API_BASE": "http://127.0.0.1:8700/v1",
        "OPENAI_API_KEY": "placeholder",
    }


def test_an_agent_whose_provider_speaks_messages() -> None:
    """It gets the Anthropic SDK's variables and none of OpenAI's."""
    assert agent_environment(PROVIDERS["claude"]) == {
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:8700/anthropic",
        "ANTHROPIC_API_KEY": "placeholder",
    }


def test_services_are_named_by_variables() -> None:
    """Each service has an address in a variable whose name a shell can use."""
    variables = agent_environment(PROVIDERS["claude"], services=["search-index", "db"])
    assert variables["SEARCH_INDEX_SERVICE_URL"] == "http://127.0.0.1:8700/services/search-index"
    assert variables["DB_SERVICE_URL"] == "http://127.0.0.1:8700/services/db"


@pytest.mark.parametrize("egress", [True, False])
def test_proxies_are_set_where_there_is_a_way_out(egress: bool) -> None:
    """The proxy's variables are there in either case, or not at all; the loopback goes past it."""
    variables = agent_environment(PROVIDERS["openai"], egress=egress)
    names = {"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"}
    assert {variables.get(n) for n in names} == {"http://127.0.0.1:8701" if egress else None}
    names = {"NO_PROXY", "no_proxy"}
    assert {variables.get(n) for n in names} == {"127.0.0.1,localhost" if egress else None}
