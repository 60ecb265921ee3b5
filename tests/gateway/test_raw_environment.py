"""The credentials that a configuration puts into an agent's container."""

from pathlib import Path

import pytest

from runner.errors import ConfigurationError
from runner.gateway.credentials import secret_files
from runner.gateway.raw_environment import raw_environment
from tests.config.loading import agent, load


def raw(directory: Path, value: str, environ: dict[str, str]) -> dict[str, str]:
    """Return the values of the environment that these credentials make."""
    text = agent(f"type: openai, model: m, command_line_docker_credentials: {{{value}}}")
    config = load(directory, text).config
    found = raw_environment(config.agents[0], environ=environ, cwd=directory)
    assert not any(c.reveal() in repr(found) for c in found.values())
    return {name: credential.reveal() for name, credential in found.items()}


def test_without_a_word_there_is_nothing(tmp_path: Path) -> None:
    """Without `allow_raw` nothing of the host's environment is passed."""
    assert raw(tmp_path, "allow_raw: false", {"GITHUB_TOKEN": "x"}) == {}
    assert raw(tmp_path, "allow_raw: true", {"GITHUB_TOKEN": "x"}) == {}


def test_variables_are_looked_up_as_keys_are(tmp_path: Path) -> None:
    """A variable comes from the environment, from `.env`, or from a file that NAME_FILE names."""
    (tmp_path / ".env").write_text("B=two\n")
    (tmp_path / "c").write_text("three\n")
    environ = {"A": "one", "C_FILE": "c", "OTHER": "x"}
    value = "env_vars: [A, B, C], allow_raw: true"
    assert raw(tmp_path, value, environ) == {"A": "one", "B": "two", "C": "three"}


def test_a_file_of_variables(tmp_path: Path) -> None:
    """A file's variables are passed, all of them or those that are named."""
    (tmp_path / "agent.env").write_text("A=one\nB=two\n")
    value = "env_file: agent.env, allow_raw: true"
    assert raw(tmp_path, value, {}) == {"A": "one", "B": "two"}
    assert raw(tmp_path, f"{value}, env_vars_from_file: [B]", {}) == {"B": "two"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("env_vars: [A, NO_SUCH]", "no credential for the container of a: NO_SUCH is set neither"),
        ("env_file: none.env", "does not exist: correct the path"),
        ("env_file: agent.env", "has a model's key in it (OPENAI_API_KEY)"),
        ("env_file: agent.env, env_vars_from_file: [C]", "has no C"),
    ],
)
def test_what_cannot_be_passed(tmp_path: Path, value: str, said: str) -> None:
    """What is missing, and a model's key, end in an error without a value in it."""
    (tmp_path / "agent.env").write_text("A=planted\nOPENAI_API_KEY=planted2\n")
    with pytest.raises(ConfigurationError) as caught:
        raw(tmp_path, f"{value}, allow_raw: true", {"A": "planted"})
    assert said in str(caught.value)
    assert "planted" not in str(caught.value)


def test_the_file_is_among_those_that_are_hidden(tmp_path: Path) -> None:
    """A file of variables, of which an agent may get some, is known as a file of secrets."""
    files = secret_files({"HOME": "/home/me"}, tmp_path, ["a.env", "~/b.env", "/etc/c.env"])
    assert {tmp_path / "a.env", Path("/home/me/b.env"), Path("/etc/c.env")} <= {*files}
