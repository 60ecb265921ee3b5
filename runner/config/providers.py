"""The providers a run can use, one row each: address, key, dialect, quirks. Runs on: host.

Chat calls go to `{base_url}/chat/completions`, messages calls to `{base_url}/messages`.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from runner.contract.spec import DecisionMode, Dialect

Auth = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "none"]
"""How the key travels: `Authorization: Bearer KEY`, a header of that name, or not at all."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Provider(NamedTuple):
    """One row of the table."""

    name: str
    """`backend.type` in a configuration."""
    base_url: str | None
    """With the version path, without a slash at the end; None: not known in advance."""
    source: str
    """The published documentation that the row was checked against."""
    key_variables: tuple[str, ...] = ()
    """Looked up in this order. Empty: no key is needed, one is sent only if `api_key` says so."""
    dialect: Dialect = "chat"
    auth: Auth = "bearer"
    headers: Mapping[str, str] = _NOTHING
    decision_mode: DecisionMode = "tools"
    forced_tool_choice: bool = True
    """Takes `tool_choice: required` (chat) or `any` (messages)."""
    stream_usage: bool = True
    """Takes `stream_options: {include_usage: true}`; others report usage without being asked."""
    needs_base_url: bool = False
    """The configuration must give `base_url`."""
    key_check_path: str = "/models"
    """GET of it, below the address, costs nothing and needs a valid key."""
    self_hosted: bool = False
    """Serves whatever model its owner loaded, small ones included."""
    context_tokens: int | None = None
    """The most that a call can read and write; None: the price list knows, or nobody does."""
    renames: Mapping[str, str] = _NOTHING
    """Sampling parameters that this provider knows under another name."""


_ROWS = (
    Provider(
        name="openai",
        base_url="https://api.openai.com/v1",
        source="https://platform.openai.com/docs/api-reference/chat/create",
        key_variables=("OPENAI_API_KEY",),
        renames=MappingProxyType({"max_tokens": "max_completion_tokens"}),
    ),
    Provider(
        name="claude",
        base_url="https://api.anthropic.com/v1",
        source="https://docs.anthropic.com/en/api/messages",
        key_variables=("ANTHROPIC_API_KEY",),
        dialect="messages",
        auth="x-api-key",
        headers=MappingProxyType({"anthropic-version": "2023-06-01"}),
        stream_usage=False,  # its events carry usage; the option is Chat Completions' own
        renames=MappingProxyType({"stop": "stop_sequences", "max_completion_tokens": "max_tokens"}),
    ),
    Provider(
        name="gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        source="https://ai.google.dev/api/compatibility",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ),
    Provider(
        name="grok",
        base_url="https://api.x.ai/v1",
        source="https://docs.x.ai/docs/guides/function-calling",
        key_variables=("XAI_API_KEY",),
    ),
    Provider(
        # The v1 surface, https://RESOURCE.openai.azure.com/openai/v1: no api-version, and `model`
        # is the name of the deployment.
        name="azure_openai",
        base_url=None,
        source="https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle",
        key_variables=("AZURE_OPENAI_API_KEY",),
        auth="api-key",
        needs_base_url=True,
        renames=MappingProxyType({"max_tokens": "max_completion_tokens"}),
    ),
    Provider(
        name="zai",
        base_url="https://api.z.ai/api/paas/v4",
        source="https://docs.z.ai/api-reference/llm/chat-completion",
        key_variables=("ZAI_API_KEY", "Z_AI_API_KEY"),
        forced_tool_choice=False,  # 400 "Tool choice must be auto"
        stream_usage=False,  # the last chunk carries usage anyway
    ),
    Provider(
        name="chatcompletion",
        base_url=None,
        source="https://platform.openai.com/docs/api-reference/chat/create",
        needs_base_url=True,
        self_hosted=True,
    ),
    Provider(
        name="lmstudio",
        base_url="http://localhost:1234/v1",
        source="https://lmstudio.ai/docs/developer/openai-compat/tools",
        self_hosted=True,
    ),
    Provider(
        name="vllm",
        base_url="http://localhost:8000/v1",
        source="https://docs.vllm.ai/en/latest/features/tool_calling/",
        self_hosted=True,
    ),
    Provider(
        name="sglang",
        base_url="http://localhost:30000/v1",
        source="https://docs.sglang.io/advanced_features/tool_parser.html",
        self_hosted=True,
    ),
    Provider(
        name="local",
        base_url=None,  # given at run time by the server that the runner starts
        source="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        auth="none",
        decision_mode="json_schema",  # measured: 12 of 12 well formed; by tool calls 0 of 6
        self_hosted=True,
        context_tokens=8192,  # of the 16384 that its server shares out among three calls
    ),
    Provider(
        name="groq",
        base_url="https://api.groq.com/openai/v1",
        source="https://console.groq.com/docs/openai",
        key_variables=("GROQ_API_KEY",),
    ),
    Provider(
        name="openrouter",
        base_url="https://openrouter.ai/api/v1",
        source="https://openrouter.ai/docs/api-reference/overview",
        key_variables=("OPENROUTER_API_KEY",),
        key_check_path="/key",  # its list of models is for everybody
    ),
    Provider(
        name="together",
        base_url="https://api.together.ai/v1",
        source="https://docs.together.ai/docs/inference/openai-compatibility",
        key_variables=("TOGETHER_API_KEY",),
    ),
    Provider(
        name="fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        source="https://docs.fireworks.ai/api-reference/post-chatcompletions",
        key_variables=("FIREWORKS_API_KEY",),
    ),
    Provider(
        name="cerebras",
        base_url="https://api.cerebras.ai/v1",
        source="https://inference-docs.cerebras.ai/api-reference/chat-completions",
        key_variables=("CEREBRAS_API_KEY",),
    ),
    Provider(
        name="mistral",
        base_url="https://api.mistral.ai/v1",
        source="https://docs.mistral.ai/api/endpoint/chat",
        key_variables=("MISTRAL_API_KEY",),
        stream_usage=False,  # refuses fields it does not know; the last chunk carries usage
        renames=MappingProxyType({"seed": "random_seed", "max_completion_tokens": "max_tokens"}),
    ),
    Provider(
        name="deepseek",
        base_url="https://api.deepseek.com/v1",
        source="https://api-docs.deepseek.com/guides/thinking_mode",
        key_variables=("DEEPSEEK_API_KEY",),
        forced_tool_choice=False,  # 400 while thinking, which is the default
    ),
    Provider(
        name="ollama",
        base_url="http://localhost:11434/v1",
        source="https://docs.ollama.com/api/openai-compatibility",
        decision_mode="json_schema",  # any model can; tools only those with a template for them
        forced_tool_choice=False,  # accepted and ignored
        self_hosted=True,
    ),
)

LOCAL_MODEL = "qwen2.5-coder-1.5b-instruct"
"""What `local` serves where the configuration names no model."""

PROVIDERS: Mapping[str, Provider] = MappingProxyType({row.name: row for row in _ROWS})
"""All rows by name, in the order of the documentation."""


class ModelRow(NamedTuple):
    """What a family of models needs beyond its provider's row."""

    pattern: re.Pattern[str]
    providers: frozenset[str]
    decision_mode: DecisionMode | None = None
    forced_tool_choice: bool | None = None


_SELF_HOSTED = frozenset(row.name for row in _ROWS if row.self_hosted)

MODEL_ROWS = (
    # Models of up to three billion parameters call tools badly. `30b-a3b` is not one of them.
    ModelRow(
        re.compile(r"(?:^|[-:_/])(?:\d{2,3}m|[0-3](?:\.\d+)?b)(?![a-z0-9])", re.IGNORECASE),
        _SELF_HOSTED,
        decision_mode="json_schema",
    ),
    # The router passes tool_choice on to vendors who refuse it.
    ModelRow(
        re.compile(r"(?:z-ai|deepseek)/", re.IGNORECASE),
        frozenset({"openrouter"}),
        forced_tool_choice=False,
    ),
)


def decision_mode_for(provider: Provider, model: str) -> DecisionMode:
    """Return how `model` states its decisions, where the configuration does not say."""
    for row in _rows_for(provider, model):
        if row.decision_mode is not None:
            return row.decision_mode
    return provider.decision_mode


def forced_tool_choice_for(provider: Provider, model: str, params: Mapping[str, object]) -> bool:
    """Tell whether a tool call can be forced with `model` and these sampling parameters."""
    thinking = params.get("thinking")
    if isinstance(thinking, Mapping) and thinking.get("type") != "disabled":
        return False  # the messages API refuses a forced tool while it thinks
    for row in _rows_for(provider, model):
        if row.forced_tool_choice is not None:
            return row.forced_tool_choice
    return provider.forced_tool_choice


def _rows_for(provider: Provider, model: str) -> list[ModelRow]:
    return [r for r in MODEL_ROWS if provider.name in r.providers and r.pattern.search(model)]


def base_url_for(provider: Provider, configured: str | None) -> str | None:
    """Return where calls go, without a slash at the end; None: the local model's server.

    An Azure resource given without a path gets the path of its v1 surface.
    """
    if configured is None:
        return provider.base_url
    base_url = configured.rstrip("/")
    if provider.name == "azure_openai" and not urlsplit(base_url).path:
        return f"{base_url}/openai/v1"
    return base_url


def key_variables_for(provider: Provider, base_url: str | None) -> tuple[str, ...]:
    """Return the variables that may hold the key, in order; empty: no key is needed.

    A `chatcompletion` address that belongs to a provider of the table takes that one's key, and
    no other address does: a key goes only to whom it was given by.
    """
    if provider.name != "chatcompletion" or base_url is None:
        return provider.key_variables
    host = urlsplit(base_url).hostname
    for row in _ROWS:
        if row.base_url and row.key_variables and urlsplit(row.base_url).hostname == host:
            return row.key_variables
    return ()


def provider_for_model(model: str) -> str | None:
    """Return the provider that a model's name gives away for certain, else None."""
    for pattern, name in _FAMILIES:
        if pattern.match(model):
            return name
    return None


_FAMILIES = (
    (re.compile(r"gpt-(?!oss)|chatgpt-|o[1-9](?:-|$)"), "openai"),
    (re.compile(r"claude-"), "claude"),
    (re.compile(r"gemini-"), "gemini"),
    (re.compile(r"grok-"), "grok"),
)
