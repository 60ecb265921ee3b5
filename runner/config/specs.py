"""What the run container is told of a configuration: no key, no address. Runs on: host."""

from pydantic import JsonValue

from runner.config.models import AgentConfig, BackendConfig, RunConfig, Sampling
from runner.config.providers import decision_mode_for, forced_tool_choice_for
from runner.contract.spec import AgentSpec, AgentTools, CoordinationSpec

DEFAULT_MAX_NEW_ANSWERS = 5


def request_params(backend: BackendConfig) -> dict[str, JsonValue]:
    """Return the sampling parameters under the names that the provider knows."""
    params: dict[str, JsonValue] = {}
    for name in Sampling.model_fields:
        value = getattr(backend, name)
        if value is not None:
            params[name] = list(value) if isinstance(value, tuple) else value
    if backend.type != "openrouter":
        _lift(params, "reasoning", "effort", "reasoning_effort")
    _lift(params, "text", "verbosity", "verbosity")
    for old, new in backend.provider.renames.items():
        if old in params:
            params.setdefault(new, params.pop(old))
    if backend.provider.dialect == "messages" and isinstance(params.get("stop_sequences"), str):
        params["stop_sequences"] = [params["stop_sequences"]]
    return params


def _lift(params: dict[str, JsonValue], outer: str, inner: str, name: str) -> None:
    """Replace `outer: {inner: value}`, as the Responses API has it, by `name: value`."""
    group = params.pop(outer, None)
    if isinstance(group, dict) and group.get(inner) is not None:
        params.setdefault(name, group[inner])


def tool_names(backend: BackendConfig) -> tuple[str, ...]:
    """Return the built-in tools that an agent is offered."""
    from runner.contract.command_tools import COMMAND_TOOLS
    from runner.contract.file_tools import FILE_TOOLS

    files = FILE_TOOLS if backend.cwd is not None else ()
    commands = COMMAND_TOOLS if backend.enable_mcp_command_line else ()
    names = (tool.name for tool in (*files, *commands))
    return tuple(name for name in names if backend.offers(name))


def agent_spec(
    agent: AgentConfig, tools: AgentTools | None = None, context_tokens: int | None = None
) -> AgentSpec:
    """Return one agent as the run container sees it; `context_tokens` is what its model takes."""
    backend, provider = agent.backend, agent.backend.provider
    params = request_params(backend)
    return AgentSpec(
        id=agent.id,
        model=backend.model,
        dialect=provider.dialect,
        decision_mode=backend.decision_mode or decision_mode_for(provider, backend.model),
        system_message=agent.system_message,
        params=params,
        forced_tool_choice=forced_tool_choice_for(provider, backend.model, params),
        stream_usage=provider.stream_usage,
        context_tokens=context_tokens,
        tools=tools,
    )


def coordination_spec(config: RunConfig) -> CoordinationSpec:
    """Return the rules of the coordination."""
    orchestrator = config.orchestrator
    return CoordinationSpec(
        voting_sensitivity=orchestrator.voting_sensitivity,
        answer_novelty_requirement=orchestrator.answer_novelty_requirement,
        max_new_answers_per_agent=orchestrator.max_new_answers_per_agent or DEFAULT_MAX_NEW_ANSWERS,
        skip_coordination_rounds=orchestrator.skip_coordination_rounds,
        orchestrator_timeout_seconds=config.orchestrator_timeout_seconds,
        agent_timeout_seconds=config.agent_timeout_seconds,
    )
