"""Loading: what is accepted, what is refused, and what the error says."""

import json
from pathlib import Path

import pytest

from runner.config.load import (
    config_from_data,
    config_from_flags,
    find_default_config,
    load_config,
)
from runner.config.specs import agent_spec, coordination_spec, request_params
from runner.errors import ConfigurationError
from tests.config.loading import MINIMAL, agent, load, problems


def test_minimal(tmp_path: Path) -> None:
    """Two keys are enough, and the defaults are the documented ones."""
    loaded = load(tmp_path, MINIMAL)
    rules = coordination_spec(loaded.config)
    assert loaded.warnings == ()
    assert rules.voting_sensitivity == "lenient"
    assert rules.max_new_answers_per_agent == 5
    assert rules.orchestrator_timeout_seconds == 1800
    assert rules.agent_timeout_seconds is None
    assert loaded.config.runner.stall_timeout_seconds == 120


def test_resolved_is_json_with_defaults(tmp_path: Path) -> None:
    """The resolved configuration shows what will be done, as JSON."""
    resolved = load(tmp_path, MINIMAL).resolved
    assert resolved == json.loads(json.dumps(resolved))
    assert resolved["timeout_settings"]["orchestrator_timeout_seconds"] == 1800
    backend = resolved["agents"][0]["backend"]
    assert backend["type"] == "openai"
    assert backend["enable_mcp_command_line"] is False


def test_one_agent(tmp_path: Path) -> None:
    """`agent:` is a list of one, and errors name it as it is written."""
    text = "agent:\n  id: a\n  backend:\n    type: openai\n    model: m\n    temperature: 9\n"
    assert problems(tmp_path, text) == [
        "c.yaml:6: agent.backend.temperature: 9 is out of range (allowed: 0 to 2)"
    ]
    config = load(tmp_path, text, "agent.backend.temperature=0").config
    assert config.agents[0].backend.temperature == 0


def test_agent_beside_agents(tmp_path: Path) -> None:
    """`agent:` and `agents:` together are refused."""
    assert problems(tmp_path, MINIMAL + "agent: {}\n") == [
        "c.yaml:4: agent: stands beside agents:: keep one of the two"
    ]


def test_all_problems_at_once(tmp_path: Path) -> None:
    """Every problem is reported, in the order of the file, each with its line and its remedy."""
    text = """\
agents:
  - id: 1st
    backend:
      type: opnai
      model: gpt-5
      temprature: 0.3
  - id: no
    temperature: 0.3
    backend: {type: chatcompletion, model: x, max_tokens: "100"}
orchestrator:
  voting_sensitivity: lenint
  skip_coordination_rounds: "no"
timeout_settings:
  orchestrator_timeout_seconds: .nan
"""
    found = problems(tmp_path, text)
    assert [line.split(": ")[:2] for line in found] == [
        ["c.yaml:2", "agents.0.id"],
        ["c.yaml:4", "agents.0.backend.type"],
        ["c.yaml:6", "agents.0.backend.temprature"],
        ["c.yaml:7", "agents.1.id"],
        ["c.yaml:8", "agents.1.temperature"],
        ["c.yaml:9", "agents.1.backend.max_tokens"],
        ["c.yaml:11", "orchestrator.voting_sensitivity"],
        ["c.yaml:12", "orchestrator.skip_coordination_rounds"],
        ["c.yaml:14", "timeout_settings.orchestrator_timeout_seconds"],
    ]
    assert "did you mean 'openai'?" in found[1]
    assert found[2].endswith("is not a known key: did you mean 'temperature'?")
    assert found[3].endswith('YAML reads no as false: write "no" in quotes')
    assert found[4].endswith("it belongs into backend")
    assert found[5].endswith("write 100 without quotes")
    assert "(allowed: lenient, balanced, strict): did you mean 'lenient'?" in found[6]


NOT_YET = (
    "enable_code_execution: true",
    "enable_web_search: true",
)


@pytest.mark.parametrize("key", NOT_YET)
def test_not_available_yet(key: str, tmp_path: Path) -> None:
    """A known key that is not carried out is an error that says so."""
    name = key.split(":", maxsplit=1)[0]
    assert problems(tmp_path, agent(f"type: openai, model: m, {key}")) == [
        f"c.yaml:3: agents.0.backend.{name}: is not available yet: take the key out"
    ]


@pytest.mark.parametrize(
    "more",
    [
        "orchestrator: {coordination: {enable_planning_mode: true}}",
        "orchestrator: {coordination: {max_orchestration_restarts: 1}}",
        "runner: {nested: {enabled: true}}",
        "memory: {enabled: true}",
    ],
)
def test_sections_not_available_yet(more: str, tmp_path: Path) -> None:
    """So is one in another section."""
    (problem,) = problems(tmp_path, f"{MINIMAL}{more}\n")
    assert "is not available yet" in problem


def test_inactive_values_are_fine(tmp_path: Path) -> None:
    """A key that asks for nothing is accepted, whether it is carried out or not."""
    keys = "enable_web_search: false, mcp_servers: [], command_line_docker_image: null"
    more = """\
orchestrator:
  coordination: {enable_planning_mode: false, max_orchestration_restarts: 0}
  snapshot_storage: snapshots
  agent_temporary_workspace: temp_workspaces
runner: {nested: {enabled: false}, budget: {}}
timeout_settings:
ui: null
"""
    assert load(tmp_path, agent(f"type: openai, model: m, {keys}", more)).warnings == ()


def test_null_is_not_set_but_a_key_must_be_known(tmp_path: Path) -> None:
    """A null leaves the default, and does not hide an unknown key or a missing one."""
    assert problems(tmp_path, agent("type: openai, model: null, temprature: null")) == [
        "c.yaml:3: agents.0.backend.model: is missing: name the model as the provider calls it",
        "c.yaml:3: agents.0.backend.temprature: is not a known key: did you mean 'temperature'?",
    ]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("runner: {memory: 2g, cpus: 1.5, pids: 100, image: 'my/image:1'}", ""),
        ("runner: {memory: 2x}", "is no amount of memory (allowed: 64m to 4t, as in '2g')"),
        ("runner: {memory: 1k}", "is no amount of memory"),
        ("runner: {disk: 2g}", ""),
        ("runner: {disk: 2x}", "is no amount of disk (allowed: 16m to 64t, as in '10g')"),
        ("runner: {disk: 1m}", "is no amount of disk"),
        ("runner: {memory: 2}", "must be text, not the number 2: put '2' in quotes"),
        ("runner: {cpus: .inf}", "is out of range (allowed: 0.05 to 512)"),
        ("runner: {cpus: -1}", "is out of range"),
        ("runner: {pids: 0}", "is out of range (allowed: 16 to 100000)"),
        ("runner: {pids: 1.5}", "must be a whole number"),
        ("runner: {pids: true}", "must be a whole number, not the value true"),
        ("runner: {retry: {attempts: 1000000000000000000000}}", "a huge number is out of range"),
        ("runner: {stall_timeout_seconds: 0}", "is out of range (allowed: over 0 to 3600)"),
        ("runner: {image: 'x --privileged'}", "is no image name"),
        ("orchestrator: {max_new_answers_per_agent: 0}", "is out of range (allowed: 1 to 100)"),
        ("timeout_settings: {agent_timeout_seconds: -3}", "is out of range"),
        ("timeout_settings: 300", "must be a mapping, not the number 300"),
        ("timeout_settings: [1]", "must be a mapping, not a list"),
        ("ui: {display_type: rich}", "(allowed: rich_terminal, simple, silent)"),
        ("ui: {logging_enabled: 1}", "must be true or false, not the number 1"),
        ("ui: {logging_enabled: on}", ""),
        ("orchestrater: {}", "did you mean 'orchestrator'?"),
        ("agents: []", "stands twice"),
    ],
)
def test_values(more: str, says: str, tmp_path: Path) -> None:
    """Values are bounded, and an error says what is allowed."""
    found = problems(tmp_path, f"{MINIMAL}{more}\n")
    assert len(found) == (1 if says else 0)
    assert says in "".join(found)


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        ("type: chatcompletion, model: m", "base_url: is missing; chatcompletion needs it"),
        ("type: azure_openai, model: m", "base_url: is missing; azure_openai needs it"),
        ("type: chatcompletion, model: m, base_url: 'http://localhost:1/v1'", ""),
        ("type: openai, model: m, base_url: 'ftp://h/v1'", "must begin with http:// or https://"),
        ("type: openai, model: m, base_url: 'https://'", "names no host"),
        ("type: openai, model: m, base_url: 'localhost:8000'", "must begin with http://"),
        ("type: openai, model: m, base_url: 'http://h:99999/'", "is no address"),
        ("type: openai, model: m, base_url: 'http://[::1/'", "is no address"),
        ("type: openai, model: m, base_url: 'http://user@h/v1'", "has credentials in it"),
        ("type: openai, model: m, base_url: 'http://h/v1?a=b'", "has a query or a fragment"),
        ("type: openai, model: m, base_url: 'http://h/v1 x'", "no address has"),
        ("type: openai, model: m, base_url: 'http://h/v1/chat/completions'", "leave that off"),
        ("type: claude_code, model: m", "'claude_code' is not available yet"),
        ("type: local", ""),
        ("type: local, model: other", "'other' is not a local model"),
        ("type: local, base_url: 'http://h/v1'", "local has no address of its own"),
        ("type: local, api_key: '${X}'", "local takes no key"),
        ("type: claude, model: m, seed: 1", "claude takes no such parameter"),
        ("type: claude, model: m, temperature: 1.5", "(allowed: 0 to 1 with claude)"),
        ("type: claude, model: m, decision_mode: json_schema", "is not available with claude"),
        ("type: openai, model: m, decision_mode: json", "(allowed: tools, json_schema)"),
        ("type: openai, model: m, stop: []", "(allowed: 1 to 16, none empty)"),
        ("type: openai, model: m, stop: [a, b]", ""),
        ("type: openai, model: ''", "is no name"),
        ("type: openai, model: m, cwd: ../../etc", "is no name of a workspace"),
        ("type: openai, model: m, cwd: /etc", "is no name of a workspace"),
        ("type: openai", "model: is missing"),
        ("model: m", "type: is missing"),
    ],
)
def test_backends(backend: str, says: str, tmp_path: Path) -> None:
    """What does not fit together in a backend is refused before anything is started."""
    found = problems(tmp_path, agent(backend))
    assert len(found) == (1 if says else 0)
    assert says in "".join(found)


@pytest.mark.parametrize("name", ["a b", "1a", "../a", "a" * 65, "a/b", "a\\nb", "final", "é"])
def test_agent_ids(name: str, tmp_path: Path) -> None:
    """An id that cannot name a file, or names one of the log's own, is refused."""
    text = f'agents: [{{id: "{name}", backend: {{type: openai, model: m}}}}]\n'
    assert len(problems(tmp_path, text)) == 1


def test_duplicate_ids(tmp_path: Path) -> None:
    """Two agents cannot share an id, also where one is wrong otherwise or differs in capitals."""
    text = MINIMAL + "  - {id: A, backend: {type: openai}}\n"
    assert problems(tmp_path, text) == [
        "c.yaml:4: agents.1.backend.model: is missing: name the model as the provider calls it",
        "c.yaml:4: agents.1.id: 'A' is the id of agent number 1 too: give every agent its own id",
    ]


def test_numbers_of_agents(tmp_path: Path) -> None:
    """A run has from 1 to 64 agents."""
    assert "has 0 agents (allowed: 1 to 64)" in problems(tmp_path, "agents: []\n")[0]
    row = "  - {{id: a{}, backend: {{type: openai, model: m}}}}\n"
    text = "agents:\n" + "".join(row.format(i) for i in range(65))
    assert "has 65 agents (allowed: 1 to 64)" in problems(tmp_path, text)[0]


def test_timeouts_twice(tmp_path: Path) -> None:
    """Time limits may be given in two places that agree, not in two that differ."""
    text = MINIMAL + (
        "timeout_settings: {orchestrator_timeout_seconds: 60}\n"
        "orchestrator: {timeout: {orchestrator_timeout_seconds: 30, agent_timeout_seconds: 5}}\n"
    )
    (problem,) = problems(tmp_path, text)
    assert problem.startswith("c.yaml:5: orchestrator.timeout.orchestrator_timeout_seconds: ")
    assert problem.endswith("30 here, 60 in timeout_settings: keep one of the two")
    config = load(tmp_path, text.replace("30", "60")).config
    assert config.orchestrator_timeout_seconds == 60
    assert config.agent_timeout_seconds == 5
    config = load(tmp_path, text, "timeout_settings.orchestrator_timeout_seconds=9").config
    assert config.orchestrator_timeout_seconds == 9


def test_warnings(tmp_path: Path) -> None:
    """What is accepted but is not what its writer may think gives a warning with its line."""
    backend = (
        "type: openai, model: m, cwd: w, base_url: 'http://api.example.com/v1', "
        "reasoning: {effort: low, summary: auto}"
    )
    more = "orchestrator: {max_new_answers_per_agent: null}\n"
    found = [str(p) for p in load(tmp_path, agent(backend, more)).warnings]
    assert [line.split(": ")[1] for line in found] == [
        "agents.0.backend.reasoning",
        "agents.0.backend.base_url",
        "orchestrator.max_new_answers_per_agent",
    ]
    assert found[0].endswith("the chat API has no 'summary'")


def test_overrides(tmp_path: Path) -> None:
    """`--set` takes keys, positions and ids, makes what is not there, and wins in order."""
    config = load(
        tmp_path,
        MINIMAL,
        "agents.0.backend.model=x",
        "agents.a.backend.temperature=0.3",
        "agents.a.backend.stop=[u, v]",
        "runner.retry.attempts=2",
        "runner.retry.attempts=3",
        "ui.logging_enabled=false",
        "agents.0.system_message=a=b: c",
    ).config
    backend = config.agents[0].backend
    assert (backend.model, backend.temperature, backend.stop) == ("x", 0.3, ("u", "v"))
    assert config.runner.retry.attempts == 3
    assert config.ui.logging_enabled is False


def test_override_can_mend_a_file(tmp_path: Path) -> None:
    """A value that is overridden is not checked."""
    assert problems(tmp_path, agent("type: openai, model: 1"), "agents.0.backend.model=m") == []


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("nonsense", "--set: nonsense: is no override (allowed: key.sub=value"),
        ("a..b=1", "is no override"),
        ("=1", "is no override"),
        ("agents.7.id=x", "--set: agents: has no item 7 (there are: 0 to 0, a)"),
        ("agents.0.id.x=1", "--set: agents.0.id: is a single value and has no x in it"),
        ("agents.0.backend.temperature=hot", "--set: agents.0.backend.temperature: must be"),
        ("agents.0.backend.temprature=1", "did you mean 'temperature'?"),
        ("agents.0.backend.model=[", "--set: agents.0.backend.model: is no valid YAML"),
        ("ui.display_type=!mine x", "the tag !mine is not allowed"),
        ("ui={a: {b: c}", "--set: ui: is no valid YAML"),
        ("agents.0.backend.model=\udcff", "the value is no text"),
        ("agents.0.backend.api_key=sk-abcdefghij1234567890", "has a literal secret in it"),
    ],
)
def test_wrong_overrides(override: str, says: str, tmp_path: Path) -> None:
    """What is wrong with an override names the flag and the key, and never the value of a key."""
    found = problems(tmp_path, MINIMAL, override)
    assert len(found) == 1
    assert found[0].startswith("--set")
    assert says in found[0]
    assert "1234567890" not in found[0]


def test_flags() -> None:
    """A model alone is a configuration where its name says who provides it."""
    loaded = config_from_flags(None, "gpt-5-mini", "Be brief.", ["ui.display_type=silent"])
    (only,) = loaded.config.agents
    assert (only.backend.type, only.id, only.system_message) == ("openai", "agent_a", "Be brief.")
    assert loaded.path == "command line"
    assert config_from_flags("local", None, None).config.agents[0].backend.model


@pytest.mark.parametrize(
    ("backend", "model", "says"),
    [
        (None, "llama", "add --backend, one of: openai, claude"),
        ("opnai", "m", "did you mean 'openai'?"),
        ("openai", None, "model: is missing"),
        ("chatcompletion", "m", "base_url: is missing"),
    ],
)
def test_wrong_flags(backend: str | None, model: str | None, says: str) -> None:
    """Flags that make no configuration are refused with the remedy."""
    with pytest.raises(ConfigurationError) as caught:
        config_from_flags(backend, model, None)
    assert says in str(caught.value)


def test_default_config(tmp_path: Path) -> None:
    """The working directory's configuration goes before the user's own."""
    home = tmp_path / "home"
    for base in (home / ".config" / "massgen", tmp_path / ".massgen"):
        with pytest.raises(ConfigurationError, match="--config FILE"):
            find_default_config(tmp_path, {})
        base.mkdir(parents=True)
        (base / "config.yaml").write_text(MINIMAL)
        assert find_default_config(tmp_path, {"HOME": str(home)}) == str(base / "config.yaml")


def test_parameters_under_the_providers_names(tmp_path: Path) -> None:
    """Sampling parameters go out as each provider names them."""
    text = """\
agents:
  - id: a
    backend: {type: openai, model: m, max_tokens: 9, reasoning: {effort: low}, stop: [x]}
  - id: b
    backend: {type: claude, model: m, max_tokens: 9, stop: x, thinking: {type: enabled}}
  - id: c
    backend: {type: openrouter, model: m, reasoning: {effort: low}, text: {verbosity: low}}
  - id: d
    backend: {type: mistral, model: m, seed: 1, max_completion_tokens: 2}
"""
    a, b, c, d = load(tmp_path, text).config.agents
    assert request_params(a.backend) == {
        "max_completion_tokens": 9,
        "reasoning_effort": "low",
        "stop": ["x"],
    }
    assert request_params(b.backend) == {
        "max_tokens": 9,
        "stop_sequences": ["x"],
        "thinking": {"type": "enabled"},
    }
    assert request_params(c.backend) == {"reasoning": {"effort": "low"}, "verbosity": "low"}
    assert request_params(d.backend) == {"random_seed": 1, "max_tokens": 2}
    assert agent_spec(b).forced_tool_choice is False
    assert agent_spec(b).dialect == "messages"


def test_decision_mode_is_overridable(tmp_path: Path) -> None:
    """The provider table's decision mode holds unless the configuration says otherwise."""
    text = agent("type: ollama, model: 'qwen3:32b'")
    assert agent_spec(load(tmp_path, text).config.agents[0]).decision_mode == "json_schema"
    config = load(tmp_path, text, "agents.0.backend.decision_mode=tools").config
    assert agent_spec(config.agents[0]).decision_mode == "tools"


def test_the_guides_meta_configuration(tmp_path: Path) -> None:
    """The automation guide's meta configuration loads; its commands run in a container."""
    text = """\
agents:
  - id: "meta_agent"
    backend:
      type: "openai"
      model: "gpt-5-mini"
      cwd: "workspace_meta"
      enable_mcp_command_line: true
      command_line_execution_mode: "local"

    system_message: |
      You are a MassGen automation agent. Your role is to run MassGen

orchestrator:
  snapshot_storage: "snapshots_meta"
  agent_temporary_workspace: "temp_workspaces_meta"
"""
    [meta] = load(tmp_path, text).config.agents
    assert meta.backend.enable_mcp_command_line
    assert meta.backend.command_line_execution_mode == "local"


def test_paths_are_taken_from_the_working_directory(tmp_path: Path) -> None:
    """A relative path is one from `cwd`, and is shown as it was given."""
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "sub dir" / "c.yaml").write_text(MINIMAL)
    assert load_config("sub dir/c.yaml", cwd=tmp_path).path == "sub dir/c.yaml"


def test_data_from_elsewhere_is_checked_as_a_file_is() -> None:
    """A configuration that was kept somewhere is refused with its key, however odd it is."""
    backend = {"type": "openai", "model": "m", "api_key": "sk-0123456789abcdef0123456789abcdef"}
    with pytest.raises(ConfigurationError, match=r"kept: .*api_key"):
        config_from_data({"agents": [{"id": "a", "backend": backend}]}, "kept")
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"agents": deep}
    with pytest.raises(ConfigurationError, match="kept"):
        config_from_data(deep, "kept")


def test_what_a_full_configuration_resolves_to_is_the_same_configuration(tmp_path: Path) -> None:
    """Limits, times and sampling parameters survive being kept."""
    text = agent(
        "type: openai, model: m, stop: [a, b], reasoning: {effort: low}, cwd: w",
        "timeout_settings: {agent_timeout_seconds: 5}\n"
        "orchestrator: {voting_sensitivity: strict, timeout: {orchestrator_timeout_seconds: 9}}\n"
        "runner: {memory: 512m, record: true, retry: {attempts: 2}}\n",
    )
    loaded = load(tmp_path, text)
    assert config_from_data(loaded.resolved, "kept").resolved == loaded.resolved
