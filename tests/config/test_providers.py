"""The provider table: rows are complete and the lookups say what a run needs."""

from urllib.parse import urlsplit

import pytest

from runner.config.providers import (
    PROVIDERS,
    base_url_for,
    decision_mode_for,
    forced_tool_choice_for,
    key_variables_for,
    provider_for_model,
)


@pytest.mark.parametrize("name", list(PROVIDERS))
def test_row_is_usable(name: str) -> None:
    """Every row has an address or asks for one, and names the documentation it comes from."""
    row = PROVIDERS[name]
    assert name == row.name
    assert row.source.startswith("https://")
    assert row.base_url is not None or row.needs_base_url or name == "local"
    if row.base_url is not None:
        assert not row.base_url.endswith("/")
        assert urlsplit(row.base_url).hostname == "localhost" or row.key_variables
        assert urlsplit(row.base_url).scheme == ("http" if row.self_hosted else "https")


def test_guide_types_are_rows() -> None:
    """Every backend type of the automation guide's world is a row."""
    guide = "openai claude gemini grok azure_openai zai chatcompletion lmstudio vllm sglang local"
    assert set(guide.split()) <= set(PROVIDERS)


@pytest.mark.parametrize(
    ("provider", "model", "mode"),
    [
        ("ollama", "qwen2.5-coder:1.5b", "json_schema"),
        ("vllm", "Qwen/Qwen2.5-Coder-1.5B-Instruct", "json_schema"),
        ("vllm", "Qwen/Qwen3-30B-A3B", "tools"),
        ("vllm", "Qwen/Qwen3-32B", "tools"),
        ("lmstudio", "gemma-3-270m-it", "json_schema"),
        ("openai", "gpt-5-mini", "tools"),
        ("local", "qwen2.5-coder-1.5b-instruct", "json_schema"),
    ],
)
def test_decision_mode(provider: str, model: str, mode: str) -> None:
    """Small models on one's own server decide by JSON schema, the others by tools."""
    assert mode == decision_mode_for(PROVIDERS[provider], model)


def test_forced_tool_choice() -> None:
    """Who refuses a forced tool call is not asked for one."""
    claude, router = PROVIDERS["claude"], PROVIDERS["openrouter"]
    assert forced_tool_choice_for(claude, "claude-sonnet-4-5", {})
    assert not forced_tool_choice_for(
        claude, "claude-sonnet-4-5", {"thinking": {"type": "enabled"}}
    )
    assert not forced_tool_choice_for(router, "z-ai/glm-4.6", {})
    assert forced_tool_choice_for(router, "openai/gpt-5-mini", {})
    assert not forced_tool_choice_for(PROVIDERS["zai"], "glm-4.6", {})


def test_base_url() -> None:
    """A configured address wins, and a bare Azure resource gets the v1 path."""
    azure = PROVIDERS["azure_openai"]
    assert base_url_for(PROVIDERS["openai"], None) == "https://api.openai.com/v1"
    assert base_url_for(PROVIDERS["vllm"], "http://gpu:8000/v1/") == "http://gpu:8000/v1"
    assert base_url_for(azure, "https://r.openai.azure.com/") == (
        "https://r.openai.azure.com/openai/v1"
    )
    assert base_url_for(azure, "https://r.example/openai/v1/") == "https://r.example/openai/v1"
    assert base_url_for(PROVIDERS["local"], None) is None


def test_key_goes_to_its_own_provider_only() -> None:
    """A generic address takes a key only where the host is the key's own provider."""
    generic = PROVIDERS["chatcompletion"]
    assert key_variables_for(generic, "https://api.groq.com/openai/v1") == ("GROQ_API_KEY",)
    assert key_variables_for(generic, "https://api.groq.com.evil.example/v1") == ()
    assert key_variables_for(generic, "http://127.0.0.1:9/v1") == ()
    assert key_variables_for(PROVIDERS["gemini"], None)[0] == "GEMINI_API_KEY"


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-5-mini", "openai"),
        ("o4-mini", "openai"),
        ("claude-sonnet-4-5", "claude"),
        ("gemini-2.5-flash", "gemini"),
        ("grok-4", "grok"),
        ("gpt-oss-20b", None),
        ("openai/gpt-5", None),
        ("mistral-large", None),
    ],
)
def test_provider_for_model(model: str, provider: str | None) -> None:
    """A name gives its provider away only where there is no doubt."""
    assert provider == provider_for_model(model)
