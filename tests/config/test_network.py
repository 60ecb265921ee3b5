"""Hosts, services and raw credentials in a configuration."""

from pathlib import Path

import pytest

from runner.config.network_checks import egress_rules, has_raw_bridge
from tests.config.loading import MINIMAL, agent, load, problems

GITHUB = """\
runner:
  services:
    github:
      url: https://api.github.com
      headers: {Authorization: "Bearer ${GITHUB_TOKEN}"}
      paths: ["/repos/**"]
"""


def allowed(directory: Path, mode: str, allow: str = "['example.org:443']") -> str:
    text = agent(f"type: openai, model: m{mode}", f"runner: {{network: {{allow: {allow}}}}}\n")
    config = load(directory, text).config
    return str(egress_rules(config, config.agents[0]))


def test_nothing_is_reached_by_default(tmp_path: Path) -> None:
    """Without a word about networks an agent reaches no host."""
    config = load(tmp_path, MINIMAL).config
    assert str(egress_rules(config, config.agents[0])) == "nothing"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("", "example.org:443"),
        (", command_line_docker_network_mode: none", "nothing"),
        (", command_line_docker_network_mode: bridge", "example.org:443, *:443, *:80"),
    ],
)
def test_what_an_agent_reaches(tmp_path: Path, mode: str, expected: str) -> None:
    """The run's list counts for each agent, `bridge` adds the web, and a written `none` closes."""
    assert allowed(tmp_path, mode) == expected


def test_entries_are_kept_in_one_form(tmp_path: Path) -> None:
    """Names are lower case and addresses short, whatever the file has."""
    assert (
        allowed(tmp_path, "", "['EXAMPLE.org.:80', '[2001:DB8:0::1]:443', '*.Example.net:1']")
        == "example.org:80, [2001:db8::1]:443, *.example.net:1"
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("example.org", "names no port"),
        ("[::1]", "names no port"),
        ("example.org:0", "is no port"),
        ("example.org:65536", "is no port"),
        ("example.org:https", "is no port"),
        ("example.org:*", "is no port"),
        ("::1:80", "IPv6 addresses in brackets"),
        ("[fe80::1%eth0]:80", "is no IPv6 address"),
        ("[127.0.0.1]:80", "is no IPv6 address"),
        ("127.1:80", "is no IP address"),
        ("0x7f.1:80", "is no host name|is no IP address"),
        ("2130706433:80", "is no IP address"),
        ("a.*.example.net:80", "is no host name"),
        ("*example.net:80", "is no host name"),
        ("**:80", "is no host name"),
        ("https://example.org:443", "is no host"),
        ("user@example.org:443", "is no host name"),
        ("example.org/path:443", "is no host name"),
        ("bücher.example:443", "is no host name"),
        (":443", "names no port"),
    ],
)
def test_entries_that_are_none(tmp_path: Path, entry: str, said: str) -> None:
    """An entry that is no host and port is refused with its line and what is allowed."""
    text = f"{MINIMAL}runner:\n  network:\n    allow:\n      - '{entry}'\n"
    [problem] = problems(tmp_path, text)
    assert problem.startswith("c.yaml:7: runner.network.allow.0: ")
    assert any(each in problem for each in said.split("|"))
    assert "(allowed: " in problem or "IPv6" in problem


def test_the_hosts_own_network_is_refused(tmp_path: Path) -> None:
    """`host` is refused with what to write in its place."""
    text = agent("type: openai, model: m, command_line_docker_network_mode: host")
    [problem] = problems(tmp_path, text)
    assert "(allowed: none, bridge)" in problem
    assert "runner.network.allow" in problem


def test_a_raw_bridge_is_a_warning(tmp_path: Path) -> None:
    """A real bridge needs both keys, and is a warning that says what can be reached."""
    bridge = agent("type: openai, model: m, command_line_docker_network_mode: bridge")
    loaded = load(tmp_path, f"{bridge}runner: {{network: {{raw_bridge: true}}}}\n")
    assert has_raw_bridge(loaded.config, loaded.config.agents[0])
    [warning] = map(str, loaded.warnings)
    assert "unfiltered and unlogged" in warning
    loaded = load(tmp_path, bridge)
    assert not has_raw_bridge(loaded.config, loaded.config.agents[0])
    loaded = load(tmp_path, f"{MINIMAL}runner: {{network: {{raw_bridge: true}}}}\n")
    assert not has_raw_bridge(loaded.config, loaded.config.agents[0])
    assert "has no effect" in str(loaded.warnings[0])


def test_service(tmp_path: Path) -> None:
    """A service needs an address and paths; only GET is allowed unless more is."""
    loaded = load(tmp_path, MINIMAL + GITHUB)
    service = loaded.config.runner.services["github"]
    assert service.methods == ("GET",)
    assert service.variables == ("GITHUB_TOKEN",)
    assert [str(pattern) for pattern in service.patterns] == ["/repos/**"]
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("wanted", "written", "key", "said"),
    [
        ("github:", "GitHub:", "services.GitHub", "is no name of a service"),
        ("https://", "ftp://", "github.url", "must begin with http"),
        ("https://", "https://user:x@", "github.url", "credentials|literal secret"),
        ("github.com", "github.com/a?b=c", "github.url", "has a query"),
        ("github.com", "github.com/a/../b", "github.url", "two ways"),
        ('["/repos/**"]', "[]", "github.paths", "has too few entries"),
        ("/repos/**", "repos/**", "paths.0", "must begin with /"),
        ("/repos/**", "/repos/a*", "paths.0", "has a segment that is none"),
        ("/repos/**", "/../x", "paths.0", "has a segment that is none"),
        ("/repos/**", "/a//b", "paths.0", "has a segment that is none"),
        ("Bearer ${GITHUB_TOKEN}", "Bearer hunter2x", "Authorization", "literal secret"),
        ("${GITHUB_TOKEN}", "${OPENAI_API_KEY}", "headers", "is a model's key"),
        ("${GITHUB_TOKEN}", "${MY_MODEL_KEY}", "headers", "is a model's key"),
        ("${GITHUB_TOKEN}", "${GITHUB TOKEN}", "Authorization", "broken reference|literal"),
        ("Authorization", "X-Home", "headers", "called as credentials are"),
        ("Authorization", "Host", "headers.Host", "is not for a configuration to set"),
        ("Authorization", "a b", "a b", "is no name of a header"),
    ],
)
def test_services_that_are_none(
    tmp_path: Path, wanted: str, written: str, key: str, said: str
) -> None:
    """What is wrong with a service is told with its key, and a literal secret is not repeated."""
    text = GITHUB.replace(wanted, written)
    if "X-Home" in written:
        text = text.replace("GITHUB_TOKEN", "HOME")
    own = agent("type: openai, model: m, api_key: '${MY_MODEL_KEY}'")
    found = [line for line in problems(tmp_path, own + text) if key in line]
    assert found
    assert any(each in line for each in said.split("|") for line in found)
    assert "hunter2x" not in "".join(found)


def test_names_of_services_differ_as_variables(tmp_path: Path) -> None:
    """Two services that would have one variable in the container are refused."""
    text = GITHUB + "    a-b: {url: https://a.example, paths: [/**]}\n"
    other = "    a_b: {url: https://a.example, paths: [/**]}\n"
    assert load(tmp_path, MINIMAL + text).config.runner.services.keys() == {"github", "a-b"}
    [problem] = problems(tmp_path, MINIMAL + text + other)
    assert "a_b and a-b would have one variable" in problem


def test_methods(tmp_path: Path) -> None:
    """A method that is none is refused with those that are."""
    text = GITHUB + "      methods: [GET, get]\n"
    [problem] = problems(tmp_path, MINIMAL + text)
    assert "runner.services.github.methods.1: 'get' is not allowed (allowed: GET, HEAD" in problem


def test_a_credential_in_the_clear_is_a_warning(tmp_path: Path) -> None:
    """A credential that is sent by http to another machine is a warning."""
    text = MINIMAL + GITHUB.replace("https://", "http://")
    assert "unencrypted" in str(load(tmp_path, text).warnings[0])


def raw(value: str) -> str:
    return agent(f"type: openai, model: m, command_line_docker_credentials: {{{value}}}")


@pytest.mark.parametrize("value", ["env_vars: [GITHUB_TOKEN]", "env_file: .env"])
def test_raw_credentials_need_a_word(tmp_path: Path, value: str) -> None:
    """Without `allow_raw` a credential goes into no container; the remedy is a service."""
    [problem] = problems(tmp_path, raw(value))
    assert "runner.services: {github:" in problem
    assert "allow_raw: true" in problem


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("env_vars: [GITHUB_TOKEN, NPM_TOKEN]", "GITHUB_TOKEN, NPM_TOKEN"),
        ("env_file: .env", "all of .env"),
        ("env_file: .env, env_vars_from_file: [A]", "A"),
    ],
)
def test_raw_credentials_are_a_warning(tmp_path: Path, value: str, names: str) -> None:
    """With `allow_raw` they are accepted, and a warning names them."""
    loaded = load(tmp_path, raw(f"{value}, allow_raw: true"))
    [warning] = map(str, loaded.warnings)
    assert f"pass them on: {names}" in warning


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("env_vars: [OPENAI_API_KEY], allow_raw: true", "is a model's key"),
        ("env_vars: [X], allow_raw: true", "is a model's key"),
        ("env_vars: ['A B'], allow_raw: true", "is no name of a variable"),
        ("env_vars_from_file: [A], allow_raw: true", "there is no env_file"),
        ("pass_all_env: true, allow_raw: true", "env_vars"),
        ("mount: [ssh_keys], allow_raw: true", "orchestrator.context_paths"),
        ("additional_mounts: {a: {bind: /b}}, allow_raw: true", "runner.services"),
    ],
)
def test_raw_credentials_that_are_refused(tmp_path: Path, value: str, said: str) -> None:
    """A model's key, all of the environment and mounts of the home directory are refused."""
    text = raw(value).replace("model: m", "model: m, api_key: '${X}'")
    [problem] = problems(tmp_path, text)
    assert said in problem
