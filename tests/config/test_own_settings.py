"""The user's own settings, and the environment of the programs that the host starts."""

from pathlib import Path

import pytest

from runner.config.child_environment import without_keys
from runner.config.own_settings import own_settings, rate_limits
from runner.config.providers import PROVIDERS
from runner.errors import ConfigurationError
from tests.config.loading import MINIMAL, load, problems

OPENAI = "agents:\n  - id: a\n    backend: {type: openai, model: gpt-5-mini}\n"


def write(home: Path, text: str) -> dict[str, str]:
    path = home / ".config" / "massgen" / "runner.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return {"HOME": str(home)}


def test_without_a_file_or_with_an_empty_one(tmp_path: Path) -> None:
    """No file, no home and an empty file are the defaults."""
    assert own_settings({}).credential_command is None
    assert own_settings({"HOME": str(tmp_path)}).credential_command is None
    assert own_settings(write(tmp_path, "# nothing yet\n")).credential_command is None


def test_a_command_is_a_list(tmp_path: Path) -> None:
    """The command is taken word by word."""
    settings = own_settings(write(tmp_path, "credential_command: [pass, show, 'llm/{name}']\n"))
    assert settings.credential_command == ("pass", "show", "llm/{name}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("credential_command: pass show\n", ":1: credential_command: is a text"),
        ("credential_command: []\n", ":1: credential_command: is no command"),
        ("credential_command: ['']\n", ":1: credential_command: is no command"),
        ("credential_command: [pass, 7]\n", "credential_command"),
        ("\ncredential_comand: [pass]\n", ":2: credential_comand"),
        ("[1]\n", ":1: is not a mapping"),
        ("a: [\n", "is no valid YAML"),
    ],
)
def test_what_is_wrong_is_told_by_line(tmp_path: Path, text: str, said: str) -> None:
    """Each problem has the file, the line and the key."""
    environ = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        own_settings(environ)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_configuration_cannot_start_programs(tmp_path: Path) -> None:
    """A configuration may be somebody else's: a command in it is refused, with the right place."""
    [problem] = problems(tmp_path, MINIMAL + "runner:\n  credential_command: [touch, /tmp/x]\n")
    assert "runner.credential_command" in str(problem)
    assert "~/.config/massgen/runner.yaml" in str(problem)


def test_children_get_no_model_key() -> None:
    """Keys of the table, …_API_KEY and named variables go; other credentials and settings stay."""
    table = {name: "k" for row in PROVIDERS.values() for name in row.key_variables}
    kept = {"PATH": "/bin", "GITHUB_TOKEN": "t", "PIP_INDEX_URL": "https://u:p@h", "TEAM_KEY": "x"}
    dropped = {**table, "some_api_key": "k", "ELSE_API_KEY": "k", "NAMED": "k"}
    assert without_keys({**kept, **dropped}, ["NAMED"]) == kept


def test_the_stricter_rate_limit_counts(tmp_path: Path) -> None:
    """The user's own limits hold for every run; a configuration can only lower them."""
    environ = write(
        tmp_path,
        "rate_limits:\n"
        "  openai: {requests_per_minute: 60, concurrency: 4}\n"
        "  groq: {requests_per_minute: 30}\n",
    )
    given = "runner:\n  rate_limits:\n    openai: {requests_per_minute: 90, tokens_per_minute: 9}\n"
    found = rate_limits(load(tmp_path, OPENAI + given).config, environ)
    assert set(found) == {"openai"}
    limits = found["openai"]
    assert (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrency) == (60, 9, 4)


@pytest.mark.parametrize(
    "text",
    ["openai: {requests_per_minute: 0}", "opnai: {concurrency: 1}", "openai: {concurency: 1}"],
)
def test_a_wrong_rate_limit_is_told(tmp_path: Path, text: str) -> None:
    """A limit of nothing, an unknown provider and an unknown key are told in both places."""
    [problem] = problems(tmp_path, OPENAI + f"runner:\n  rate_limits:\n    {text}\n")
    assert "runner.rate_limits" in str(problem)
    environ = write(tmp_path, f"rate_limits:\n  {text}\n")
    with pytest.raises(ConfigurationError, match=r"runner.yaml:2: rate_limits"):
        own_settings(environ)
