"""The page on provider keys, tried out."""

import re
from pathlib import Path

import yaml

from runner.config.providers import PROVIDERS
from runner.gateway.credentials import CredentialRequest, load_credentials

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "provider-keys.md"


def test_two_agents_get_the_keys_that_the_page_names(tmp_path: Path) -> None:
    """The example with a key for each agent finds both of them."""
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / ".env").write_text("TEAM_A_KEY=one\nTEAM_B_KEY=two\nOPENAI_API_KEY=three\n")
    requests = [
        CredentialRequest(
            agent["id"], PROVIDERS[agent["backend"]["type"]], agent["backend"]["api_key"]
        )
        for agent in yaml.safe_load(example)["agents"]
    ]
    found = load_credentials(requests, environ={}, cwd=tmp_path)
    assert [c.reveal() for c in found.values() if c] == ["one", "two"]


def test_servers_of_ones_own_are_all_named() -> None:
    """The page names every provider that needs no key."""
    page = PAGE.read_text("utf-8")
    for row in PROVIDERS.values():
        if not row.key_variables:
            assert f"`{row.name}`" in page
