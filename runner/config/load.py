"""Load a configuration: file or flags to a checked `RunConfig`. Runs on: host."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from runner.config import checks
from runner.config.examples import EXAMPLE_PREFIX, find_example
from runner.config.explain import findings
from runner.config.mcp_mapping import with_listed_servers
from runner.config.models import BackendConfig, RunConfig
from runner.config.network_checks import network_findings
from runner.config.overrides import FLAG, apply_overrides
from runner.config.problems import Finding, KeyPath, Problem, ProblemsError, dotted
from runner.config.providers import LOCAL_MODEL, PROVIDERS, provider_for_model
from runner.config.source import parse_file
from runner.config.specs import coordination_spec
from runner.config.tree import Document
from runner.errors import ConfigurationError

FLAGS = "command line"
MAX_PROBLEMS = 100


class LoadedConfig(NamedTuple):
    """A configuration that can be run."""

    config: RunConfig
    path: str
    """As the user gave it, to be shown; `command line` without a file."""
    resolved: dict[str, Any]
    """The configuration with its defaults, as JSON has it; no credential is in it."""
    warnings: tuple[Problem, ...]


class Checked(NamedTuple):
    """What is wrong with a configuration; no errors: it can be run."""

    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def load_config(path_or_example: str, overrides: Sequence[str] = (), *, cwd: Path) -> LoadedConfig:
    """Return the configuration in a file, or of an example (`@examples/basic/…`).

    `overrides` are `key.sub=value`; relative paths are taken from `cwd`. Raises
    ConfigurationError with every problem at once.
    """
    try:
        document = parse_file(_locate(path_or_example, cwd), path_or_example)
        return _loaded(document, path_or_example, overrides)
    except ProblemsError as error:
        raise ConfigurationError(*map(str, _most(error.problems))) from None


def check_config(path_or_example: str, *, cwd: Path) -> Checked:
    """Return the errors and warnings of a file or an example; nothing is started or looked up."""
    try:
        document = parse_file(_locate(path_or_example, cwd), path_or_example)
        return Checked((), _loaded(document, path_or_example, ()).warnings)
    except ProblemsError as error:
        return Checked(_most(error.problems), ())


def config_from_flags(
    backend_type: str | None,
    model: str | None,
    system_message: str | None,
    overrides: Sequence[str] = (),
) -> LoadedConfig:
    """Return the configuration of one agent, `agent_a`, without a file.

    Without `backend_type` the model's name must give its provider away. Raises
    ConfigurationError.
    """
    backend: dict[str, Any] = {"type": backend_type or provider_for_model(model or "")}
    if backend["type"] is None:
        what = "the model's name does not say who provides it"
        remedy = f"add --backend, one of: {', '.join(PROVIDERS)}"
        raise ConfigurationError(str(Problem(FLAGS, None, "--model", what, remedy)))
    if model is not None:
        backend["model"] = model
    agent: dict[str, Any] = {"id": "agent_a", "backend": backend}
    if system_message is not None:
        agent["system_message"] = system_message
    try:
        return _loaded(Document({"agents": [agent]}, {}, {}), FLAGS, overrides)
    except ProblemsError as error:
        raise ConfigurationError(*map(str, _most(error.problems))) from None


def config_from_data(
    data: dict[str, Any], shown: str, overrides: Sequence[str] = ()
) -> LoadedConfig:
    """Return the configuration in data that a run was resolved to before; `shown` names it.

    Raises ConfigurationError: the data may come from somewhere else.
    """
    try:
        return _loaded(Document(data, {}, {}), shown, overrides)
    except ProblemsError as error:
        raise ConfigurationError(*map(str, _most(error.problems))) from None
    except RecursionError as error:
        raise ConfigurationError(f"{shown}: the configuration is nested too deeply") from error


def find_default_config(cwd: Path, environ: Mapping[str, str]) -> str:
    """Return the path of the configuration that is used where none is named.

    Raises ConfigurationError that says how to make one.
    """
    places = [cwd / ".massgen" / "config.yaml"]
    if environ.get("HOME"):
        places.append(Path(environ["HOME"]) / ".config" / "massgen" / "config.yaml")
    for place in places:
        if place.exists():
            return str(place)
    looked = " and ".join(map(str, places))
    what = f"no configuration was named, and there is none at {looked}"
    remedy = (
        "name one with --config FILE, e.g. --config @examples/basic/multi/local_two_agents, "
        "or a single model with --model NAME"
    )
    raise ConfigurationError(str(Problem(FLAGS, None, "", what, remedy)))


def _most(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return the first problems, and how many more there are."""
    shown = tuple(problems[:MAX_PROBLEMS])
    more = len(problems) - len(shown)
    if not more:
        return shown
    what = f"{more:,} more problems"
    return (*shown, Problem(shown[0].file, None, "", what, "mend these first"))


def _locate(path_or_example: str, cwd: Path) -> Path:
    if path_or_example.startswith(EXAMPLE_PREFIX):
        return find_example(path_or_example)
    if not path_or_example:
        raise ProblemsError(Problem(FLAGS, None, "--config", "names no file"))
    return cwd / path_or_example


class _Places(NamedTuple):
    """Where the keys of a configuration stand, to turn findings into problems."""

    shown: str
    document: Document
    overridden: Sequence[KeyPath]
    single: bool
    """The file has `agent:` instead of `agents:`."""

    def problem(self, finding: Finding) -> Problem:
        path = finding.path
        name = path
        if self.single and path[:2] == ("agents", 0):
            name = ("agent", *path[2:])
        file, line = self.shown, self.document.line_of(path)
        if any(path[: len(changed)] == changed for changed in self.overridden):
            file, line = FLAG, None
        return Problem(file, line, dotted(name), finding.what, finding.remedy)

    def problems(self, found: Iterable[Finding]) -> tuple[Problem, ...]:
        ordered = sorted(map(self.problem, found), key=lambda p: p.line or 0)
        return tuple(dict.fromkeys(ordered))


def _loaded(document: Document, shown: str, overrides: Sequence[str]) -> LoadedConfig:
    document, single = _as_list(document, shown)
    document = with_listed_servers(document)
    changed = apply_overrides(document.data, overrides)
    data = document.data
    places = _Places(shown, document, changed, single)
    _name_local_models(data)
    found = list(checks.secret_findings(data))
    hidden = {finding.path for finding in found}
    plain = {p: t for p, t in document.plain.items() if p not in set(changed)}
    config: RunConfig | None = None
    try:
        config = RunConfig.model_validate(data)
        found += (
            f
            for f in checks.timeout_findings(config)
            if ("timeout_settings", f.path[-1]) not in changed  # an override has the last word
        )
        found += (f for f in network_findings(config) if f.path not in hidden)
    except ValidationError as error:
        found += (f for f in findings(error, data, plain) if f.path not in hidden)
    found += _agents_findings(data, hidden)
    if found or config is None:
        raise ProblemsError(*places.problems(found))
    resolved = _resolved(config)
    return LoadedConfig(config, shown, resolved, places.problems(checks.warnings(config, data)))


def _resolved(config: RunConfig) -> dict[str, Any]:
    resolved = config.model_dump(mode="json", exclude_none=True)
    rules = coordination_spec(config).model_dump(mode="json", exclude_none=True)
    for name, value in rules.items():
        home = "timeout_settings" if name.endswith("_timeout_seconds") else "orchestrator"
        resolved[home][name] = value
    return resolved


def _agents_findings(data: dict[str, Any], hidden: set[KeyPath]) -> Iterable[Finding]:
    """Yield what is wrong across an agent's keys, for each agent whose own keys are right."""
    agents = data.get("agents")
    if not isinstance(agents, list):
        return
    yield from checks.duplicate_ids(agents)
    for index, agent in enumerate(agents):
        if not isinstance(agent, dict):
            continue
        try:
            backend = BackendConfig.model_validate(agent.get("backend"))
        except ValidationError:
            continue
        path = ("agents", index, "backend")
        yield from (f for f in checks.backend_findings(backend, path) if f.path not in hidden)


def _as_list(document: Document, shown: str) -> tuple[Document, bool]:
    """Return a document that has `agents:` where the file has `agent:`."""
    data = document.data
    if "agent" not in data:
        return document, False
    if "agents" in data:
        line = document.lines.get(("agent",))
        what = "stands beside agents:"
        raise ProblemsError(Problem(shown, line, "agent", what, "keep one of the two"))

    def moved(path: KeyPath) -> KeyPath:
        return ("agents", 0, *path[1:]) if path[:1] == ("agent",) else path

    data = {("agents" if k == "agent" else k): [v] if k == "agent" else v for k, v in data.items()}
    lines = {moved(path): line for path, line in document.lines.items()}
    lines[("agents",)] = document.lines.get(("agent",), 1)
    return Document(data, lines, {moved(p): t for p, t in document.plain.items()}), True


def _name_local_models(data: dict[str, Any]) -> None:
    agents = data.get("agents")
    for agent in agents if isinstance(agents, list) else []:
        backend = agent.get("backend") if isinstance(agent, dict) else None
        if not isinstance(backend, dict) or backend.get("type") != "local":
            continue
        if backend.get("model") is None:
            backend["model"] = LOCAL_MODEL
