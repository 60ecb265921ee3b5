"""The page on provider keys, tried out."""

import re
from pathlib import Path

import yaml

from runner.config.own_settings import own_settings
from runner.config.providers import PROVIDERS
from runner.gateway.credentials import CredentialRequest, load_credentials
from tests.support.massgen import Project

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "provider-keys.md"


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_two_agents_get_the_keys_that_the_page_names(tmp_path: Path) -> None:
    """The example with a key for each agent finds both of them."""
    [example] = [text for text in examples("yaml") if text.startswith("agents:")]
    (tmp_path / ".env").write_text("TEAM_A_KEY=one\nTEAM_B_KEY=two\nOPENAI_API_KEY=three\n")
    requests = [
        CredentialRequest(
            agent["id"], PROVIDERS[agent["backend"]["type"]], agent["backend"]["api_key"]
        )
        for agent in yaml.safe_load(example)["agents"]
    ]
    found = load_credentials(requests, environ={}, cwd=tmp_path)
    assert [c.reveal() for c in found.values() if c] == ["one", "two"]


def test_the_users_own_file_is_valid(tmp_path: Path) -> None:
    """The example of runner.yaml is read as the page says."""
    [example] = [text for text in examples("yaml") if "credential_command" in text]
    path = tmp_path / "massgen" / "runner.yaml"
    path.parent.mkdir()
    path.write_text(example)
    settings = own_settings({"XDG_CONFIG_HOME": str(tmp_path)})
    assert settings.credential_command == ("pass", "show", "llm/{name}")


def test_commands_run(tmp_path: Path) -> None:
    """The commands that list keys work as they are written; no key is there to be checked."""
    lines = [line for text in examples("sh") for line in text.splitlines()]
    for line in (words for words in lines if words.startswith("massgen-runner ")):
        done = Project(tmp_path).massgen(*line.split()[1:], program="massgen-runner")
        assert done.exit_code == 0, done


def test_servers_of_ones_own_are_all_named() -> None:
    """The page names every provider that needs no key."""
    page = PAGE.read_text("utf-8")
    for row in PROVIDERS.values():
        if not row.key_variables:
            assert f"`{row.name}`" in page
