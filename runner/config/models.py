"""A run as its user writes it: every key of a configuration, with its bounds. Runs on: host."""

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
)

from runner.config.command_line import CommandLine
from runner.config.context_paths import ContextPath
from runner.config.mcp import McpServers
from runner.config.network import NetworkConfig, Services
from runner.config.problems import listed, shown
from runner.config.providers import PROVIDERS, Provider
from runner.config.secrets import REFERENCE
from runner.config.tool_choice import ToolChoice
from runner.config.values import (
    ConfigPart,
    Effort,
    Level,
    Name,
    NotYet,
    OwnFileOnly,
    Seconds,
    checked_agent_id,
    checked_agents,
    checked_disk,
    checked_image,
    checked_known_type,
    checked_memory,
    checked_reference,
    checked_stop,
    checked_usd,
    checked_workspace,
    memory_bytes,
    wrong,
)
from runner.contract.spec import DecisionMode


class Sampling(ConfigPart):
    """Parameters that go to the provider with every call."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """How freely the model chooses its words."""
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Choose among the words that make up this share of the probability."""
    top_k: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Choose among this many words; not every provider takes it."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Leave out words less likely than this share of the likeliest; not every provider takes it."""
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Length of one reply; sent as `max_completion_tokens` where the provider wants that."""
    max_completion_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Length of one reply, thinking included."""
    stop: Annotated[str | tuple[str, ...] | None, BeforeValidator(checked_stop)] = None
    """Text, or a list of texts, at which a reply ends."""
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    """For replies that can be repeated, where the provider can."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Above 0: rather new words."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Above 0: rather not the same words again."""
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    """As presence_penalty, multiplied; own servers take it."""
    reasoning: dict[str, JsonValue] | None = None
    """`{effort: …}`; sent as `reasoning_effort`, to openrouter as it is."""
    reasoning_effort: Effort | None = None
    """How long a reasoning model thinks."""
    thinking: dict[str, JsonValue] | None = None
    """claude, zai, deepseek: `{type: enabled, …}`."""
    verbosity: Literal["low", "medium", "high"] | None = None
    """openai: length of replies."""
    text: dict[str, JsonValue] | None = None
    """`{verbosity: …}`; sent as `verbosity`."""


class BackendConfig(Sampling, CommandLine, ToolChoice):
    """Which model an agent is, and where it is reached."""

    type: Annotated[
        str,
        AfterValidator(checked_known_type),
        Field(json_schema_extra={"enum": list(PROVIDERS)}),
    ]
    """The provider: a row of the provider table."""
    model: Name
    """As the provider calls it; with `local` it may be left out."""
    api_key: Annotated[str, AfterValidator(checked_reference)] | None = None
    """`"${NAME}"`: the environment variable that holds the key; by default the provider's own."""
    base_url: Annotated[str, Field(max_length=2048)] | None = None
    """Address with its version path; required for `chatcompletion` and `azure_openai`."""
    decision_mode: DecisionMode | None = None
    """How the model states its answer or vote: `tools`, or `json_schema` for models that call
    tools badly; by default as the provider table says."""
    context_tokens: Annotated[int, Field(ge=2000, le=100_000_000)] | None = None
    """The most that the model can read and write in one call; by default as the price list or the
    provider table says, else 128000. Old results of tools give way to it."""
    cwd: Annotated[str, AfterValidator(checked_workspace)] | None = None
    """Name of the agent's workspace, made anew for every run; with it the agent has tools."""
    api_version: Name | None = None
    """azure_openai: not needed, the v1 surface has no versions."""

    mcp_servers: McpServers = ()
    """Tool servers that are started in the agent's container; also a mapping, name to server."""
    enable_web_search: NotYet = None
    """The provider's own web search."""
    enable_code_execution: NotYet = None
    """The provider's own code execution."""
    enable_code_interpreter: NotYet = None
    """The provider's own code interpreter."""

    @property
    def acts(self) -> bool:
        """The agent has tools, and so a workspace and a container of its own."""
        return self.cwd is not None or self.enable_mcp_command_line or bool(self.mcp_servers)

    @property
    def provider(self) -> Provider:
        return PROVIDERS[self.type]

    @property
    def key_variable(self) -> str | None:
        """Name of the variable that `api_key` refers to."""
        match = REFERENCE.fullmatch(self.api_key or "")
        return match[1] if match else None


class AgentConfig(ConfigPart):
    """One agent."""

    id: Annotated[str, AfterValidator(checked_agent_id)]
    """Names the agent, its files and its directory."""
    backend: BackendConfig
    """Its model."""
    system_message: Annotated[str, Field(max_length=500_000)] | None = None
    """What it is told before everything else."""


class TimeoutSettings(ConfigPart):
    """When a run, and a turn of an agent, is over."""

    orchestrator_timeout_seconds: Seconds | None = None
    """For the whole run; 1800 by default."""
    agent_timeout_seconds: Seconds | None = None
    """For each agent; without it only the run's own time counts."""


class Coordination(ConfigPart):
    """How agents work together, beyond answering and voting."""

    enable_planning_mode: NotYet = None
    """Agents plan, and only the winner acts."""
    planning_mode_instruction: NotYet = None
    """What agents are told while they plan."""
    max_orchestration_restarts: NotYet = None
    """How often the winner may ask for another round."""
    enable_agent_task_planning: NotYet = None
    """Agents keep a list of tasks."""


class OrchestratorConfig(ConfigPart):
    """How answers and votes come about."""

    voting_sensitivity: Level = "lenient"
    """How critically agents judge before they vote."""
    max_new_answers_per_agent: Annotated[int, Field(ge=1, le=100)] | None = None
    """After so many an agent can only vote; 5 by default, so that a run ends."""
    answer_novelty_requirement: Level = "lenient"
    """`balanced` refuses an answer that shares over 70 % of its words with another, `strict` 50."""
    skip_coordination_rounds: bool = False
    """Straight to the presentation, without votes."""
    snapshot_storage: Name | None = None
    """Accepted for MassGen's sake: snapshots are kept in the log directory."""
    agent_temporary_workspace: Name | None = None
    """Accepted for MassGen's sake: what agents see of each other is made for each run."""
    session_storage: Name | None = None
    """Accepted for MassGen's sake: there are no sessions of several turns."""
    timeout: TimeoutSettings = TimeoutSettings()
    """The same as the top-level `timeout_settings`."""
    coordination: Coordination = Coordination()
    """Planning and restarts."""
    context_paths: Annotated[tuple[ContextPath, ...], Field(strict=False, max_length=32)] = ()
    """Files and directories that agents may read."""
    debug_final_answer: NotYet = None
    """Replaces the final answer, for tests."""


class UiConfig(ConfigPart):
    """What a person sees; automation mode shows the same lines always."""

    display_type: Literal["rich_terminal", "simple", "silent"] = "rich_terminal"
    """`rich_terminal`: live; `simple`: lines; `silent`: the answer only."""
    logging_enabled: bool = True
    """False: no debug log; status, events and answers are always written."""


class RetryConfig(ConfigPart):
    """What is done when a provider is busy or cannot be reached."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    """Calls in all, the first included."""
    max_wait_seconds: Annotated[float, Field(ge=0, le=600)] = 60.0
    """The longest wait between two, also where the provider asks for more."""


_PRICED = re.compile(rf"(?:{'|'.join(PROVIDERS)})/\S(?:.{{0,254}}\S)?")
UsdPerMillion = Annotated[float, Field(ge=0, le=100_000), AfterValidator(checked_usd)]


def _priced(value: str) -> str:
    if not _PRICED.fullmatch(value):
        raise wrong(
            f"{shown(value)} names no model (allowed: PROVIDER/MODEL, PROVIDER/*)",
            f"providers are: {listed(tuple(PROVIDERS))}",
        )
    return value


class PriceConfig(ConfigPart):
    """What a model costs, in USD for a million tokens."""

    input: UsdPerMillion
    """Of what the model reads."""
    output: UsdPerMillion
    """Of what it writes."""
    cached_input: UsdPerMillion | None = None
    """Of what the provider had in its cache; by default as `input`."""
    cache_write: UsdPerMillion | None = None
    """Of what the provider puts into its cache; by default as `input`."""
    reasoning: UsdPerMillion | None = None
    """Of what the model thinks; by default as `output`."""
    max_output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """The longest reply of the model."""


class LimitsConfig(ConfigPart):
    """The most that may be used; what is left out has no limit."""

    usd: Annotated[float, Field(gt=0, le=1_000_000), AfterValidator(checked_usd)] | None = None
    """US dollars, by the prices that `massgen-runner prices` shows."""
    tokens: Annotated[int, Field(ge=1, le=10**12)] | None = None
    """Tokens read and written."""
    calls: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """Model calls."""


class BudgetConfig(LimitsConfig):
    """The most that a run may use, of all agents together and of each."""

    per_agent: LimitsConfig = LimitsConfig()
    """The most that a single agent may use."""


class RateLimitConfig(ConfigPart):
    """What a provider allows on one key; what is left out is not limited."""

    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Calls under way at once."""
    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Calls that start within any minute."""
    tokens_per_minute: Annotated[int, Field(ge=1, le=10**12)] | None = None
    """Tokens, read and written, of the calls that start within any minute."""


RateLimits = dict[Annotated[str, AfterValidator(checked_known_type)], RateLimitConfig]
Prices = dict[Annotated[str, AfterValidator(_priced)], PriceConfig]


class ToolsConfig(ConfigPart):
    """How long an agent may work with its tools before it has to decide."""

    max_steps: Annotated[int, Field(ge=1, le=10_000)] = 50
    """The most replies with tool calls in one turn; each may hold up to 64 calls."""
    max_result_chars: Annotated[int, Field(ge=1000, le=100_000_000)] = 1_000_000
    """The most characters that tools may return in one turn."""


class RunnerConfig(ConfigPart):
    """Containers, retries and limits."""

    image: Annotated[str, AfterValidator(checked_image)] | None = None
    """Run image; by default the one built from this version's sources."""
    memory: Annotated[str, AfterValidator(checked_memory)] = "1g"
    """The most memory that the run container may use."""
    cpus: Annotated[float, Field(ge=0.05, le=512)] | None = None
    """The most processors that the run container may use; by default one."""
    pids: Annotated[int, Field(ge=16, le=100_000)] = 256
    """The most processes and threads in the run container."""
    retry: RetryConfig = RetryConfig()
    """Retries of model calls."""
    stall_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """A call is given up when the provider sends nothing for so long."""
    budget: BudgetConfig = BudgetConfig()
    """The most that a run may use; no call is let out that could take more."""
    rate_limits: RateLimits = Field(default_factory=dict)
    """`PROVIDER`: what it allows on a key; the stricter of this and your own `runner.yaml` counts,
    over all your runs on this machine."""
    prices: Prices = Field(default_factory=dict)
    """`PROVIDER/MODEL`: its price, before that of the price list; `PROVIDER/*`: of all others."""
    credential_command: OwnFileOnly[tuple[str, ...] | None] = None
    """A program that prints the credential whose variable stands for `{name}`, else at the end."""
    tools: ToolsConfig = ToolsConfig()
    """Agents' work with their tools."""
    disk: Annotated[str, AfterValidator(checked_disk)] = "10g"
    """The most that an agent's workspace may hold."""
    network: NetworkConfig = NetworkConfig()
    """Hosts that agents may reach."""
    services: Services = Field(default_factory=dict)
    """`NAME`: an HTTP service that agents reach without holding its credential."""
    nested: NotYet = None
    """Runs that agents start."""
    cache: bool = False
    """Answer requests that were answered before from the disk, without paying again."""
    record: bool = False
    """Keep every model call in a cassette, from which `massgen-runner replay` runs it again."""

    @property
    def memory_bytes(self) -> int:
        return memory_bytes(self.memory) or 0

    @property
    def disk_bytes(self) -> int:
        return memory_bytes(self.disk) or 0


class RunConfig(ConfigPart):
    """A whole configuration. A file may write `agent:` with one agent for `agents:`."""

    agents: Annotated[tuple[AgentConfig, ...], Field(strict=False), BeforeValidator(checked_agents)]
    """The agents, in the order that gives their labels (agent1, agent2, …)."""
    orchestrator: OrchestratorConfig = OrchestratorConfig()
    """Answers and votes."""
    timeout_settings: TimeoutSettings = TimeoutSettings()
    """Time limits."""
    ui: UiConfig = UiConfig()
    """Display."""
    runner: RunnerConfig = RunnerConfig()
    """Containers."""
    memory: NotYet = None
    """Memory of earlier conversations."""

    @property
    def key_variables(self) -> frozenset[str]:
        """Names of the variables that the agents' `api_key` refer to."""
        return frozenset(v for agent in self.agents if (v := agent.backend.key_variable))

    @property
    def orchestrator_timeout_seconds(self) -> float:
        """Seconds after which the run ends; `timeout_settings` and `orchestrator.timeout` agree."""
        top, inner = self.timeout_settings, self.orchestrator.timeout
        given = top.orchestrator_timeout_seconds or inner.orchestrator_timeout_seconds
        return given or 1800.0

    @property
    def agent_timeout_seconds(self) -> float | None:
        """Seconds after which an agent is left out; None: no limit of its own."""
        top, inner = self.timeout_settings, self.orchestrator.timeout
        return top.agent_timeout_seconds or inner.agent_timeout_seconds
