"""Credentials are recognised by shape and by name, refused, and never printed."""

from pathlib import Path

import pytest

from runner.config.secrets import is_secret_name, looks_secret, redact
from tests.config.loading import MINIMAL, agent, problems

BODY = "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z"
SECRETS = (
    f"sk-{BODY}",
    f"sk-proj-{BODY}_{BODY}",
    f"sk-ant-api03-{BODY}",
    f"sk-or-v1-{BODY}",
    f"xai-{BODY}",
    f"gsk_{BODY}",
    f"csk-{BODY}",
    f"fw_{BODY}",
    f"tgp_v1_{BODY}",
    f"AIza{BODY}abc",
    f"ghp_{BODY}abcd",
    f"github_pat_{BODY}_{BODY}",
    f"hf_{BODY}",
    "AKIAABCDEFGHIJKLMNOP",
    f"xoxb-{BODY}",
    f"Bearer {BODY}",
    f"eyJ{BODY}.eyJ{BODY}.{BODY}",
    f"https://user:{BODY}@host/v1",
    f"https://host/v1?api_key={BODY}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----",
    f"0123456789abcdef0123456789abcdef.{BODY[:16]}",
)
HARMLESS = (
    "${OPENAI_API_KEY}",
    "a sk-learn-based-classification task",
    "task-1234567890123456789",
    "Use Bearer authentication and a token.",
    "https://api.openai.com/v1",
    "https://host/search?q=key",
    "gpt-5-mini-2025-08-07",
    "sha256:cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    "What is the key=value format?",
)


@pytest.mark.parametrize("text", SECRETS)
def test_shapes(text: str) -> None:
    """Every well-known shape is recognised inside of a sentence, and redacted from it."""
    assert looks_secret(f"it is '{text}'.")
    redacted = redact(f"it is '{text}'.")
    assert "[redacted]" in redacted
    assert BODY[:16] not in redacted
    assert not looks_secret(redacted)


@pytest.mark.parametrize("text", HARMLESS)
def test_no_false_alarm(text: str) -> None:
    """Ordinary text is left alone."""
    assert not looks_secret(text)
    assert redact(text) == text


@pytest.mark.parametrize("text", SECRETS)
@pytest.mark.parametrize(
    "place",
    [
        "{id: a, backend: {type: openai, model: m, api_key: %s}}",
        "{id: a, backend: {type: openai, model: m, base_url: %s}}",
        "{id: a, backend: {type: openai, model: %s}}",
        "{id: a, system_message: %s, backend: {type: openai, model: m}}",
        "{id: a, backend: {type: openai, model: m, mcp_servers: [{env: {X: %s}}]}}",
        "{id: a, backend: {type: openai, model: m, mcp_servers: [{args: [%s]}]}}",
        "{id: a, backend: {type: openai, model: m, headers: {Authorization: %s}}}",
        "{id: a, backend: {type: %s, model: m}}",
        "{id: %s, backend: {type: openai, model: m}}",
        "{id: a, %s: x, backend: {type: openai, model: m}}",
    ],
)
def test_refused_wherever_it_stands(text: str, place: str, tmp_path: Path) -> None:
    """A credential in the file is refused with its line, and is not in the message."""
    quoted = '"' + text.replace("\n", "\\n") + '"'
    found = problems(tmp_path, f"agents:\n  - {place % quoted}\n")
    assert any(line.startswith("c.yaml:2: ") for line in found)
    assert any("literal secret" in line for line in found)
    assert not any(BODY[4:12] in line or "AKIA" in line for line in found)


def test_named_secrets(tmp_path: Path) -> None:
    """A key without a shape is recognised by the name it stands under."""
    server = "{name: x, env: {MY_TOKEN: hunter2, OTHER: ok, DB_PASSWORD: '${DB_PASSWORD}'}}"
    found = problems(tmp_path, agent(f"type: openai, model: m, mcp_servers: [{server}]"))
    assert any("env.MY_TOKEN: has a literal secret in it" in line for line in found)
    assert not any("hunter2" in line for line in found)
    assert not any("DB_PASSWORD" in line and "literal secret" in line for line in found)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("API_KEY", True),
        ("apiKey", True),
        ("Authorization", True),
        ("client_secret", True),
        ("accessToken", True),
        ("max_tokens", False),
        ("keyboard", False),
        ("secretary", False),
    ],
)
def test_secret_names(*, name: str, expected: bool) -> None:
    """Names of credentials are told from names that look alike."""
    assert expected == is_secret_name(name)


@pytest.mark.parametrize("value", ["$NAME", "NAME", "hunter2", "${A}${B}", "${A B}", "env:NAME"])
def test_api_key_is_a_reference(value: str, tmp_path: Path) -> None:
    """`api_key` takes a reference and nothing else, and says how one is written."""
    (problem,) = problems(tmp_path, agent(f"type: openai, model: m, api_key: '{value}'"))
    assert problem.startswith("c.yaml:3: agents.0.backend.api_key: must name an environment")
    assert 'write api_key: "${NAME}"' in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize("value", ["${MY_KEY}", "EMPTY", ""])
def test_references_are_accepted(value: str, tmp_path: Path) -> None:
    """A reference is accepted, and so is the placeholder of servers that take no key."""
    assert problems(tmp_path, agent(f"type: vllm, model: m, api_key: '{value}'")) == []


def test_long_text_is_scanned_quickly(tmp_path: Path) -> None:
    """A megabyte made to hold the patterns up is looked through all the same."""
    for piece in ("sk-", "bearer ", "eyJ.", "://a:", "?key=\n", "-----BEGIN ", "sk-a", "hf_"):
        assert not looks_secret(piece * (400_000 // len(piece)))
    assert looks_secret("-----BEGIN A PRIVATE KEY-----" * 30_000)
    text = MINIMAL.replace("backend", "system_message: " + "sk-" * 150_000 + "\n    backend")
    assert problems(tmp_path, text) == []
