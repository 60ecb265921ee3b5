"""The variables by which programs in an agent's container find its model. Runs on: host.

An agent gets those of what it has and no others, so that a program that looks for a vendor's
variable to see what it can call sees the truth. The keys are placeholders: SDKs refuse to start
without one, and the host drops what they send.
"""

import re
from collections.abc import Collection

from runner.config.providers import Provider
from runner.contract.agent_socket import AGENT_URL, EGRESS_URL, LOOPBACK, SERVICES_PATH

PLACEHOLDER = "placeholder"
_NOT_IN_A_NAME = re.compile(r"[^A-Z0-9]")


def agent_environment(
    provider: Provider,
    *,
    services: Collection[str] = (),
    egress: bool = False,
    agent_url: str = AGENT_URL,
    egress_url: str = EGRESS_URL,
) -> dict[str, str]:
    """Return the variables of an agent's container.

    `services` are the names that the agent may reach; `egress` says whether it has the proxy to
    the outside. The addresses are the forwarder's.
    """
    return {
        **_model_variables(provider, agent_url),
        **{service_variable(name): f"{agent_url}{SERVICES_PATH}/{name}" for name in services},
        **(_proxy_variables(egress_url) if egress else {}),
    }


def service_variable(name: str) -> str:
    """Return the variable with a service's address: of `search-index`, SEARCH_INDEX_SERVICE_URL."""
    return f"{_NOT_IN_A_NAME.sub('_', name.upper())}_SERVICE_URL"


def _model_variables(provider: Provider, agent_url: str) -> dict[str, str]:
    if provider.dialect == "messages":
        return {"ANTHROPIC_BASE_URL": f"{agent_url}/anthropic", "ANTHROPIC_API_KEY": PLACEHOLDER}
    address = f"{agent_url}/v1"
    variables = {
        "OPENAI_BASE_URL": address,
        "OPENAI_API_BASE": address,  # what older programs look for
        "OPENAI_API_KEY": PLACEHOLDER,
    }
    if provider.name == "gemini":
        variables["GOOGLE_GEMINI_BASE_URL"] = f"{agent_url}/gemini"
        variables |= dict.fromkeys(("GEMINI_API_KEY", "GOOGLE_API_KEY"), PLACEHOLDER)
    return variables


def _proxy_variables(egress_url: str) -> dict[str, str]:
    # Programs differ in which case they look for.
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), egress_url)
    return {**proxies, **dict.fromkeys(("NO_PROXY", "no_proxy"), f"{LOOPBACK},localhost")}
