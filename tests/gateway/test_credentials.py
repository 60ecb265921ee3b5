"""Where keys are looked for, and what is said when there is none."""

import copy
import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.config.providers import PROVIDERS
from runner.errors import ConfigurationError
from runner.gateway.credentials import Credential, CredentialRequest, load_credentials

VALUE = "planted-0123456789-planted"


def ask(
    cwd: Path,
    environ: Mapping[str, str],
    *,
    provider: str = "openai",
    reference: str | None = None,
    base_url: str | None = None,
) -> Credential | None:
    request = CredentialRequest("agent_a", PROVIDERS[provider], reference, base_url)
    return load_credentials([request], environ=environ, cwd=cwd)["agent_a"]


def problem(cwd: Path, environ: Mapping[str, str], reference: str | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        ask(cwd, environ, reference=reference)
    [line] = caught.value.problems
    assert VALUE not in line
    assert "\n" not in line
    return line


def found(credential: Credential | None) -> tuple[str, str]:
    assert credential is not None
    return credential.reveal(), credential.source


def user_file(home: Path, text: str) -> Path:
    path = home / ".config" / "massgen" / ".env"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_the_environment_comes_first_then_the_files(tmp_path: Path) -> None:
    """Environment, .env of the directory, .env of the user: the first that has it wins."""
    home, cwd = tmp_path / "home", tmp_path / "cwd"
    cwd.mkdir()
    users = user_file(home, "OPENAI_API_KEY=from-user\n")
    key_file = tmp_path / "key"
    key_file.write_text("from-file\n")
    environ = {"HOME": str(home), "OPENAI_API_KEY_FILE": str(key_file)}
    assert found(ask(cwd, environ)) == ("from-user", str(users))
    (cwd / ".env").write_text("OPENAI_API_KEY=from-cwd\n")
    assert found(ask(cwd, environ)) == ("from-cwd", str(cwd / ".env"))
    environ["OPENAI_API_KEY"] = "from-environment"
    assert found(ask(cwd, environ)) == ("from-environment", "the environment")


def test_a_file_can_be_named(tmp_path: Path) -> None:
    """NAME_FILE, in the environment or a .env, names a file; its last newline is not the key's."""
    (tmp_path / "key").write_text(f"{VALUE}\r\n")
    assert found(ask(tmp_path, {"OPENAI_API_KEY_FILE": "key"}))[0] == VALUE
    (tmp_path / ".env").write_text("OPENAI_API_KEY_FILE=~/key\n")
    assert found(ask(tmp_path, {"HOME": str(tmp_path)}))[0] == VALUE


def test_xdg_config_home_is_honoured(tmp_path: Path) -> None:
    """The user's file is looked for where XDG_CONFIG_HOME says; a relative one is ignored."""
    path = tmp_path / "massgen" / ".env"
    path.parent.mkdir()
    path.write_text(f"OPENAI_API_KEY={VALUE}")
    assert found(ask(tmp_path, {"XDG_CONFIG_HOME": str(tmp_path)})) == (VALUE, str(path))
    assert "massgen/.env" not in problem(tmp_path, {"XDG_CONFIG_HOME": "relative"})


def test_a_reference_is_looked_for_alone(tmp_path: Path) -> None:
    """`${NAME}` in the configuration does not fall back on the provider's own variables."""
    environ = {"OPENAI_API_KEY": "not-this", "MY_KEY": VALUE}
    assert found(ask(tmp_path, environ, reference="${MY_KEY}"))[0] == VALUE
    text = problem(tmp_path, {"OPENAI_API_KEY": VALUE}, reference="${MY_KEY}")
    assert "MY_KEY_FILE" in text
    assert "OPENAI_API_KEY" not in text


def test_a_provider_may_have_several_variables(tmp_path: Path) -> None:
    """The provider's variables are tried in the order of the table."""
    assert found(ask(tmp_path, {"GOOGLE_API_KEY": "b"}, provider="gemini"))[0] == "b"
    both = {"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"}
    assert found(ask(tmp_path, both, provider="gemini"))[0] == "a"


@pytest.mark.parametrize("provider", ["local", "lmstudio", "vllm", "sglang", "ollama"])
@pytest.mark.parametrize("reference", [None, "", "EMPTY"])
def test_an_own_server_needs_no_key(tmp_path: Path, provider: str, reference: str | None) -> None:
    """A server of one's own gets a key only if the configuration names one."""
    assert ask(tmp_path, {"OPENAI_API_KEY": VALUE}, provider=provider, reference=reference) is None


def test_an_own_server_gets_the_key_that_is_named(tmp_path: Path) -> None:
    """An explicit api_key is honoured where none is needed."""
    named = ask(tmp_path, {"MY_KEY": VALUE}, provider="vllm", reference="${MY_KEY}")
    assert found(named)[0] == VALUE


def test_a_generic_address_gets_only_its_own_providers_key(tmp_path: Path) -> None:
    """`chatcompletion` sends groq's key to groq, and no key to an address nobody knows."""
    environ = {"GROQ_API_KEY": VALUE, "OPENAI_API_KEY": "other"}
    groq = "https://api.groq.com/openai/v1"
    assert found(ask(tmp_path, environ, provider="chatcompletion", base_url=groq))[0] == VALUE
    other = "https://llm.example.com/v1"
    assert ask(tmp_path, environ, provider="chatcompletion", base_url=other) is None


def test_every_missing_credential_is_one_problem(tmp_path: Path) -> None:
    """All missing keys are told at once, each with its agents, variables and places."""
    requests = [
        CredentialRequest("one", PROVIDERS["openai"]),
        CredentialRequest("two", PROVIDERS["gemini"]),
        CredentialRequest("three", PROVIDERS["openai"]),
    ]
    with pytest.raises(ConfigurationError) as caught:
        load_credentials(requests, environ={"HOME": "/home/someone"}, cwd=tmp_path)
    first, second = caught.value.problems
    assert first.startswith("one, three: ")
    assert "OPENAI_API_KEY" in first
    assert str(tmp_path / ".env") in first
    assert "/home/someone/.config/massgen/.env" in first
    assert "OPENAI_API_KEY_FILE" in first
    assert "GEMINI_API_KEY or GOOGLE_API_KEY" in second


@pytest.mark.parametrize(
    "value", ["a\nb", "a\r\nX-Evil: 1", "a\x00b", "a\x7fb", "k\u200bey", "ключ"]
)
def test_what_would_break_a_header_is_refused(tmp_path: Path, value: str) -> None:
    """Line breaks, controls and characters outside ASCII are refused without being shown."""
    text = problem(tmp_path, {"OPENAI_API_KEY": VALUE + value + VALUE})
    assert "OPENAI_API_KEY" in text


def test_variables_in_a_file_are_not_expanded_or_exported(tmp_path: Path) -> None:
    """A `$` in a .env is a `$`, and nothing of the file reaches this process's environment."""
    (tmp_path / ".env").write_text("OTHER=x\nOPENAI_API_KEY=a${OTHER}$OTHER\n")
    assert found(ask(tmp_path, {}))[0] == "a${OTHER}$OTHER"
    assert "OTHER" not in os.environ


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("export OPENAI_API_KEY='quoted'  # comment\n", "quoted"),
        ("\ufeffOPENAI_API_KEY=after-bom", "after-bom"),
        ("OPENAI_API_KEY = spaced \r\n", "spaced"),
        ("nonsense without a sign\nOPENAI_API_KEY=x\n", "x"),
    ],
)
def test_reads_what_people_write_into_env_files(tmp_path: Path, text: str, expected: str) -> None:
    """Quotes, comments, `export`, a BOM and Windows line ends are understood."""
    (tmp_path / ".env").write_text(text, newline="")
    assert found(ask(tmp_path, {}))[0] == expected


def test_a_link_is_followed_and_a_directory_named_env_is_none(tmp_path: Path) -> None:
    """The file is the user's own: a link is fine; a Python environment called .env is no file."""
    (tmp_path / "real").write_text(f"OPENAI_API_KEY={VALUE}")
    (tmp_path / ".env").symlink_to("real")
    assert found(ask(tmp_path, {}))[0] == VALUE
    (tmp_path / "other" / ".env").mkdir(parents=True)
    assert "is set neither" in problem(tmp_path / "other", {})


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """A FIFO, a huge file and a file in Latin-1 are errors with the path, and nothing hangs."""
    path = tmp_path / ".env"
    os.mkfifo(path)
    assert "not a regular file" in problem(tmp_path, {})
    path.unlink()
    path.write_bytes(b"#" * (2 * 1024 * 1024))
    assert "larger than" in problem(tmp_path, {})
    path.write_bytes(f"OPENAI_API_KEY={VALUE}\xe9".encode("latin-1"))
    assert "UTF-8" in problem(tmp_path, {})
    assert "does not exist" in problem(tmp_path / "none", {"OPENAI_API_KEY_FILE": "no/such"})
    (tmp_path / "empty").touch()
    assert "is empty" in problem(tmp_path / "x", {"OPENAI_API_KEY_FILE": str(tmp_path / "empty")})


def test_an_unreadable_file_does_not_matter_where_the_environment_has_the_key(
    tmp_path: Path,
) -> None:
    """Files are read only when they are needed."""
    os.mkfifo(tmp_path / ".env")
    assert found(ask(tmp_path, {"OPENAI_API_KEY": VALUE}))[0] == VALUE


def test_a_credential_does_not_show_its_value() -> None:
    """Neither repr, str and format nor a pickle or a copy give the value away."""
    credential = Credential(VALUE, variable="A_KEY", source="the environment")
    for text in (repr(credential), str(credential), f"{credential}", repr([credential])):
        assert VALUE not in text
        assert "A_KEY" in text
    for dump in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            dump(credential)
