"""What pydantic found wrong, in words for people. Runs on: host."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from runner.config.fields import choices, field_at, model_at, range_of
from runner.config.mcp import McpServerConfig
from runner.config.models import (
    AgentConfig,
    BackendConfig,
    BudgetConfig,
    OrchestratorConfig,
    RunConfig,
    RunnerConfig,
    TimeoutSettings,
    UiConfig,
)
from runner.config.network import NetworkConfig, RawCredentials
from runner.config.problems import Finding, KeyPath, listed, nearest, shown

_HOMES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("backend", BackendConfig),
    ("the agent", AgentConfig),
    ("orchestrator", OrchestratorConfig),
    ("timeout_settings", TimeoutSettings),
    ("ui", UiConfig),
    ("runner", RunnerConfig),
    ("runner.budget", BudgetConfig),
    ("runner.network", NetworkConfig),
    ("command_line_docker_credentials", RawCredentials),
    ("mcp_servers", McpServerConfig),
    ("the top level", RunConfig),
)
_YAML_BOOLS = frozenset({"yes", "no", "on", "off"})


def findings(
    error: ValidationError,
    data: Any,
    plain: dict[KeyPath, str],
    root: type[BaseModel] = RunConfig,
) -> list[Finding]:
    """Return one finding for each wrong place; `plain` is the unquoted text of scalars.

    `root` is the model that `data` was checked against.
    """
    found: dict[KeyPath, Finding] = {}
    for detail in error.errors(include_url=False):
        path = _real_path(detail["loc"], data)
        finding = _finding(detail, path, plain.get(path), root)
        if path in found:  # the branches of a union, each with its own complaint
            what = f"{found[path].what}, or {finding.what}"
            finding = Finding(path, what, found[path].remedy or finding.remedy)
        found[path] = finding
    return list(found.values())


def _real_path(location: tuple[int | str, ...], data: Any) -> KeyPath:
    """Return the part of pydantic's location that names keys; unions add tags of their own."""
    path: KeyPath = ()
    for step in location:
        is_key = isinstance(data, dict) and isinstance(step, str) and step != "[key]"
        is_item = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if not is_key and not is_item:
            break
        path = (*path, step)
        data = data.get(step) if isinstance(data, dict) else data[step]
    return path


def _finding(
    detail: ErrorDetails, path: KeyPath, written: str | None, root: type[BaseModel]
) -> Finding:
    kind, value = detail["type"], detail["input"]
    explain = _SPECIAL.get(kind)
    if explain is not None:
        return explain(path, detail, root)
    if kind in _TYPES:
        return _wrong_type(path, _TYPES[kind], value, written)
    if kind in _BOUNDS:
        allowed = range_of(field_at(path, root)) or "finite numbers"
        return Finding(path, f"{shown(value)} is out of range (allowed: {allowed})")
    describe = _OTHERS.get(kind)
    return Finding(path, describe(detail.get("ctx", {})) if describe else detail["msg"])


_TYPES = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}
_BOUNDS = frozenset(
    {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"}
)
_OTHERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "too_long": lambda c: f"has too many entries (allowed: {c['max_length']})",
    "too_short": lambda c: f"has too few entries (allowed: {c['min_length']} or more)",
    "string_too_short": lambda _: "is empty",
    "string_too_long": lambda c: f"is too long (allowed: {c['max_length']:,} characters)",
    "int_parsing_size": lambda _: "has too many digits",
}


def _refused(path: KeyPath, detail: ErrorDetails, _: type[BaseModel]) -> Finding:
    context = detail["ctx"]
    return Finding(path, context["what"], context["remedy"])


def _unknown_key(path: KeyPath, _: ErrorDetails, root: type[BaseModel]) -> Finding:
    name = str(path[-1])
    model = model_at(path[:-1], root)
    known = tuple(model.model_fields) if model else ()
    close = nearest(name, known)
    if not close:
        home = next((where for where, model in _HOMES if name in model.model_fields), "")
        close = f"it belongs into {home}" if home else f"known here: {listed(known)}"
    return Finding(path, "is not a known key", close)


def _missing(path: KeyPath, detail: ErrorDetails, _: type[BaseModel]) -> Finding:
    return Finding(path, "is missing", _EXAMPLES.get(str(detail["loc"][-1]), ""))


_EXAMPLES = {
    "agents": "write agents: with an id and a backend for each",
    "id": "write id: agent_a",
    "backend": "write backend: with type and model",
    "type": "write type: openai, or another provider",
    "model": "name the model as the provider calls it",
    "url": "write url: https://host",
    "command": "name the program that is started in the agent's container",
    "paths": "write paths: [/repos/**], with all that agents may ask for",
}


def _not_among(path: KeyPath, detail: ErrorDetails, root: type[BaseModel]) -> Finding:
    value = detail["input"]
    allowed = choices(field_at(path, root))
    what = f"{shown(value)} is not allowed (allowed: {listed(allowed)})"
    return Finding(path, what, nearest(value, allowed) if isinstance(value, str) else "")


_SPECIAL: dict[str, Callable[[KeyPath, ErrorDetails, type[BaseModel]], Finding]] = {
    "wrong": _refused,
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "literal_error": _not_among,
}


def _wrong_type(path: KeyPath, wanted: str, value: Any, written: str | None) -> Finding:
    what = f"must be {wanted}, not {_kind(value)}"
    if wanted == "text" and isinstance(value, bool) and str(written).lower() in _YAML_BOOLS:
        return Finding(
            path, what, f'YAML reads {written} as {shown(value)}: write "{written}" in quotes'
        )
    if wanted == "text" and written is not None:
        return Finding(path, what, f"put {shown(written)} in quotes")
    if isinstance(value, str) and wanted.endswith("number"):
        remedy = f"write {float(value):.15g} without quotes" if _is_number(value) else ""
        return Finding(path, what, remedy)
    if wanted == "true or false" and str(value).lower() in {*_YAML_BOOLS, "true", "false"}:
        return Finding(path, what, "write true or false without quotes")
    return Finding(path, what)


def _kind(value: Any) -> str:
    if isinstance(value, (dict, list)) or value is None:
        return shown(value)
    if isinstance(value, str):
        return "text"
    return f"the {'value' if isinstance(value, bool) else 'number'} {shown(value)}"


def _is_number(text: str) -> bool:
    try:
        return abs(float(text[:50])) < 10**15
    except ValueError:
        return False
