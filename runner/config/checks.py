"""What single values cannot show: contradictions, and what is worth a warning. Runs on: host."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from runner.config.address import address_mistake, is_near
from runner.config.models import BackendConfig, OrchestratorConfig, RunConfig, Sampling
from runner.config.network_checks import network_warnings, raw_findings
from runner.config.problems import Finding, KeyPath, listed, shown
from runner.config.providers import LOCAL_MODEL, base_url_for, key_variables_for
from runner.config.secrets import literal_secrets, looks_secret

_MESSAGES_PARAMETERS = (
    *("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop"),
    "thinking",
)


def secret_findings(data: Any) -> Iterator[Finding]:
    """Yield every literal credential; its value is in no message."""
    for path in literal_secrets(data):
        if path[2:] == ("backend", "api_key") and not looks_secret(_value_at(data, path)):
            continue  # the model says better what api_key takes
        remedy = (
            'take it out, revoke it if the file was shared, and refer to it: api_key: "${NAME}"'
        )
        yield Finding(path, "has a literal secret in it", remedy)


def _value_at(data: Any, path: KeyPath) -> str:
    for step in path:
        data = data[step]
    return str(data)


def duplicate_ids(agents: list[Any]) -> Iterator[Finding]:
    """Yield every agent whose id another one has; capitals do not tell two apart."""
    seen: dict[str, int] = {}
    for index, agent in enumerate(agents):
        name = agent.get("id") if isinstance(agent, dict) else None
        if not isinstance(name, str):
            continue
        first = seen.setdefault(name.lower(), index)
        if first != index:
            what = f"{shown(name)} is the id of agent number {first + 1} too"
            yield Finding(("agents", index, "id"), what, "give every agent its own id")


def backend_findings(backend: BackendConfig, path: KeyPath) -> Iterator[Finding]:
    """Yield what does not fit together in one backend; `path` leads to it."""
    yield from _base_url_findings(backend, path)
    if backend.provider.auth == "none" and backend.key_variable:
        yield Finding((*path, "api_key"), f"{backend.type} takes no key", "take it out")
    if backend.type == "local" and backend.model != LOCAL_MODEL:
        what = f"{shown(backend.model)} is not a local model (allowed: {LOCAL_MODEL})"
        remedy = "for a model on a server of your own take type: chatcompletion with base_url"
        yield Finding((*path, "model"), what, remedy)
    if backend.provider.dialect == "messages":
        yield from _messages_findings(backend, path)
    yield from raw_findings(backend, path)


def _base_url_findings(backend: BackendConfig, path: KeyPath) -> Iterator[Finding]:
    where = (*path, "base_url")
    if backend.base_url is None:
        if backend.provider.needs_base_url:
            example = "https://RESOURCE.openai.azure.com/openai/v1"
            if backend.type == "chatcompletion":
                example = "http://localhost:8080/v1"
            yield Finding(where, f"is missing; {backend.type} needs it", f"write {example}")
        return
    if backend.type == "local":
        yield Finding(where, "local has no address of its own", "take it out, or another type")
        return
    what = address_mistake(backend.base_url)
    if what:
        yield Finding(where, what, "write base_url: https://host/v1")
        return
    for ending in ("/chat/completions", "/messages"):
        if backend.base_url.rstrip("/").endswith(ending):
            yield Finding(where, f"ends in {ending}", "leave that off: it is added to every call")


def _messages_findings(backend: BackendConfig, path: KeyPath) -> Iterator[Finding]:
    for name in Sampling.model_fields:
        if getattr(backend, name) is not None and name not in _MESSAGES_PARAMETERS:
            what = f"{backend.type} takes no such parameter"
            yield Finding((*path, name), f"{what} (allowed: {listed(_MESSAGES_PARAMETERS)})")
    if backend.temperature is not None and backend.temperature > 1:
        yield Finding((*path, "temperature"), "is out of range (allowed: 0 to 1 with claude)")
    if backend.decision_mode == "json_schema":
        what = "json_schema is not available with claude (allowed: tools)"
        yield Finding((*path, "decision_mode"), what, "take it out")


def timeout_findings(config: RunConfig) -> Iterator[Finding]:
    """Yield time limits that are given twice and differ."""
    for name in type(config.timeout_settings).model_fields:
        top = getattr(config.timeout_settings, name)
        inner = getattr(config.orchestrator.timeout, name)
        if top is not None and inner is not None and top != inner:
            what = f"{inner:g} here, {top:g} in timeout_settings"
            yield Finding(("orchestrator", "timeout", name), what, "keep one of the two")


def warnings(config: RunConfig, data: Any) -> Iterator[Finding]:
    """Yield what is accepted and not what its writer may think."""
    for index, agent in enumerate(config.agents):
        yield from _backend_warnings(agent.backend, ("agents", index, "backend"))
    yield from _orchestrator_warnings(config.orchestrator, data)
    yield from network_warnings(config)
    limit = config.agent_timeout_seconds
    if limit is not None and limit > config.orchestrator_timeout_seconds:
        path = ("timeout_settings", "agent_timeout_seconds")
        yield Finding(path, "is longer than the whole run may take, and so has no effect")
    if len(config.agents) == 1 and config.orchestrator.skip_coordination_rounds:
        path = ("orchestrator", "skip_coordination_rounds")
        yield Finding(path, "has no effect with a single agent")


def _backend_warnings(backend: BackendConfig, path: KeyPath) -> Iterator[Finding]:
    if backend.api_version is not None:
        yield Finding((*path, "api_version"), "is not used: the v1 surface has no versions")
    for group, kept in (("reasoning", "effort"), ("text", "verbosity")):
        values = getattr(backend, group) or {}
        lost = [name for name in values if name != kept]
        if lost and backend.type != "openrouter":
            what = f"only {kept} is sent; the chat API has no {shown(lost[0])}"
            yield Finding((*path, group), what)
    url = urlsplit(base_url_for(backend.provider, backend.base_url) or "")
    if url.scheme == "http" and not is_near(url) and _has_key(backend):
        what = "the key travels unencrypted to another machine"
        yield Finding((*path, "base_url"), what, "use https://")


def _has_key(backend: BackendConfig) -> bool:
    return bool(backend.key_variable or key_variables_for(backend.provider, backend.base_url))


def _orchestrator_warnings(orchestrator: OrchestratorConfig, data: Any) -> Iterator[Finding]:
    given = data.get("orchestrator")
    name = "max_new_answers_per_agent"
    if isinstance(given, dict) and name in given and orchestrator.max_new_answers_per_agent is None:
        what = "no limit is not available: 5 is taken, so that a run ends"
        yield Finding(("orchestrator", name), what)
