"""What agents reach besides their models, and what becomes of it in their containers."""

from pathlib import Path
from typing import Any

import pytest

from runner.errors import ConfigurationError
from runner.gateway.credentials import Credential
from runner.host.agent_container_spec import AgentContainer, agent_arguments
from runner.host.container_spec import ContainerUser, Limits
from runner.host.disk_limit import DiskLimit
from runner.host.reach import Reach, reach_of
from tests.config.loading import agent, load

ENVIRON = {"SITE_TOKEN": "planted-one", "RAW_TOKEN": "planted-two"}
ACTS = "type: openai, model: m, cwd: w"
RAW = f"{ACTS}, command_line_docker_credentials: {{env_vars: [RAW_TOKEN], allow_raw: true}}"
RUNNER = """
runner:
  network: {allow: ["example.org:443"]}
  services:
    site: {url: "https://a.example", headers: {A: "${SITE_TOKEN}"}, paths: ["/**"]}
"""
BRIDGED = RUNNER.replace("network: {", "network: {raw_bridge: true, ")


def reach(directory: Path, text: str, environ: dict[str, str], **options: Any) -> Reach:
    return reach_of(load(directory, text).config, environ=environ, cwd=directory, **options)


def test_services_rules_and_credentials(tmp_path: Path) -> None:
    """An agent has the run's services and rules, and its credentials are shown by nothing."""
    found = reach(tmp_path, agent(RAW, RUNNER), ENVIRON)
    one = found.agents["a"]
    assert (one.services, str(one.rules)) == (("site",), "example.org:443")
    assert (list(one.raw), one.is_bridged) == (["RAW_TOKEN"], False)
    assert list(found.secrets()) == ["planted-one", "planted-two"]
    assert "planted" not in repr(found)


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    """Services' and containers' credentials that nobody has are problems of one error."""
    with pytest.raises(ConfigurationError) as caught:
        reach(tmp_path, agent(RAW, RUNNER), {})
    assert [("SITE_TOKEN" in p, "RAW_TOKEN" in p) for p in caught.value.problems] == [
        (True, False),
        (False, True),
    ]


def test_what_nobody_uses_is_not_looked_up(tmp_path: Path) -> None:
    """Without an agent that acts, nothing is reached and no credential is missed."""
    found = reach(tmp_path, agent("type: openai, model: m", RUNNER), {})
    assert (found.agents, found.services) == ({}, {})


def test_a_replay_needs_no_credential(tmp_path: Path) -> None:
    """A replay knows which services there are, and has none of their credentials."""
    found = reach(tmp_path, agent(RAW, RUNNER), {}, is_replay=True)
    assert found.services is None
    assert found.agents["a"].services == ("site",)
    assert found.agents["a"].raw == {}


def test_the_raw_bridge_is_no_proxy(tmp_path: Path) -> None:
    """An agent on the engine's own bridge has no proxy; one beside it would have."""
    text = agent(f"{ACTS}, command_line_docker_network_mode: bridge", BRIDGED)
    one = reach(tmp_path, text, ENVIRON).agents["a"]
    assert one.is_bridged
    assert not one.rules.rules
    one = reach(tmp_path, agent(ACTS, BRIDGED), ENVIRON).agents["a"]
    assert not one.is_bridged
    assert str(one.rules) == "example.org:443"


@pytest.mark.parametrize(("is_bridged", "network"), [(False, "none"), (True, "bridge")])
def test_the_container(is_bridged: bool, network: str) -> None:
    """It has a network only on the raw bridge; credentials are in its environment alone."""
    raw = {
        name: Credential("planted-two", variable=name, source="the environment")
        for name in ("RAW_TOKEN", "OPENAI_BASE_URL", "HOME")
    }
    container = AgentContainer(
        run_id="20260101-000000-0123abcd",
        agent_id="a",
        image="image",
        user=ContainerUser("1000:1000", "", 1000),
        limits=Limits(1 << 30, 1.5, 128),
        memory_limit="1g",
        disk=DiskLimit(64 << 20, "64m"),
        labels={},
        spec_file=Path("/w/tools.json"),
        tool_dir=Path("/w/tools"),
        socket_dir=Path("/w/socket"),
        workspace=Path("/w/work"),
        answers_dir=Path("/w/answers"),
        answers="/w/seen",
        environment={"OPENAI_BASE_URL": "http://127.0.0.1:8700/v1"},
        raw=raw,
        is_bridged=is_bridged,
    )
    assert "planted" not in repr(container)
    arguments = agent_arguments(container)
    assert arguments["HostConfig"]["NetworkMode"] == network
    assert arguments["NetworkDisabled"] is not is_bridged
    assert arguments["HostConfig"]["CapDrop"] == ["ALL"]
    assert arguments["HostConfig"]["Ulimits"] == [
        {"Name": "fsize", "Soft": 63 << 20, "Hard": 63 << 20}
    ]
    assert sorted(arguments["Env"]) == [
        "HOME=/tmp",
        "LANG=C.UTF-8",
        "OPENAI_BASE_URL=http://127.0.0.1:8700/v1",
        "RAW_TOKEN=planted-two",
    ]
