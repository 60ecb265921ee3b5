"""What agents' commands reach: services, permitted hosts, nothing else. Runs on: host."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from runner.contract.outcome import ExitCode
from tests.support.ends import assert_ended, assert_refused
from tests.support.engine_view import EngineView
from tests.support.massgen import Completed, Project
from tests.support.provider import Provider, Rule, Script, Text, ToolCall, ToolCalls

pytestmark = pytest.mark.docker

TOKEN = "planted-service-token-0123456789"
RAW = "planted-raw-token-9876543210"
ACTS = {"cwd": "workspace", "enable_mcp_command_line": True}
LOOK = """
import json, os, urllib.error, urllib.request

def get(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
    except OSError as error:
        return [0, str(error)]

seen = {"environment": dict(os.environ)}
"""


class Site(NamedTuple):
    """A real server on the host's loopback, and what it was asked: paths and credentials."""

    port: int
    seen: list[tuple[str, str | None]]


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as it:
        yield it


@contextmanager
def serving() -> Iterator[Site]:
    """Answer every request with its path."""
    seen: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization")))
            body = f"this is {self.path}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Site(server.server_address[1], seen)
        finally:
            server.shutdown()
            thread.join()


def looked(
    project: Project, provider: Provider, script: str, *arguments: str, **options: Any
) -> tuple[Completed, dict[str, Any]]:
    """Let an agent run a program, and return what the program has seen."""
    program = f"{LOOK}{script}\nwith open('seen.json', 'w') as file: json.dump(seen, file)\n"
    call = ToolCall("execute_command", json.dumps({"command": f"python3 - <<'END'\n{program}END"}))
    provider.play(Script(rules=(Rule((ToolCalls((call,)), Text("Done."))),)))
    done = project.answer("What is there?", *arguments, **options)
    [workspace] = project.directory.glob(".massgen/workspaces/workspace_*")
    seen: dict[str, Any] = json.loads((workspace / "seen.json").read_text())
    return done, seen


def test_a_service_and_a_permitted_host(
    project: Project, provider: Provider, engine_view: EngineView, site: Site
) -> None:
    """What is listed is reached, what is not is refused in words, and no credential goes inside."""
    service = {
        "url": f"http://127.0.0.1:{site.port}/api",
        "headers": {"Authorization": "Bearer ${SITE_TOKEN}"},
        "paths": ["/open/**"],
    }
    allowed = f"127.0.0.1:{site.port}"
    runner = {"services": {"my-site": service}, "network": {"allow": [allowed]}}
    project.write_config(provider.url, agents=("agent_a",), backend=ACTS, runner=runner)
    script = f"""
service = os.environ["MY_SITE_SERVICE_URL"]
seen["open"] = get(service + "/open/a?b=c")
seen["closed"] = get(service + "/closed")
for name in ("no_proxy", "NO_PROXY"):
    del os.environ[name]
seen["permitted"] = get("http://{allowed}/direct")
seen["other"] = get("http://127.0.0.1:1/")
"""
    # Without NO_PROXY, in which 127.0.0.1 stands, since here it is to be the host's.
    done, seen = looked(project, provider, script, env={"SITE_TOKEN": TOKEN})
    status = assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    assert seen["open"] == [200, "this is /api/open/a?b=c"]
    assert seen["closed"][0] == 403
    assert "(allowed: /open/**)" in seen["closed"][1]
    assert seen["permitted"] == [200, "this is /direct"]
    assert seen["other"][0] == 403
    sentence = f"is not in runner.network.allow of this run's configuration; allowed: {allowed}"
    assert sentence in seen["other"][1]
    assert site.seen == [("/api/open/a?b=c", f"Bearer {TOKEN}"), ("/direct", None)]
    assert TOKEN not in json.dumps(seen) + done.stdout + done.stderr
    left = [path for path in project.root.rglob("*") if path.is_file()]
    assert not [path for path in left if TOKEN.encode() in path.read_bytes()]
    log = project.directory / ".massgen" / "runs" / status.meta.run_id / "egress.jsonl"
    passages = [json.loads(line) for line in log.read_text().splitlines()]
    # A connection's line is written when it has ended, which the next one does not wait for.
    assert sorted((p["agent_id"], p["port"], p["outcome"]) for p in passages) == [
        ("agent_a", 1, "refused"),
        ("agent_a", site.port, "complete"),
    ]


def test_raw_credentials_and_no_way_out(
    project: Project, provider: Provider, engine_view: EngineView, site: Site
) -> None:
    """Without a rule there is no proxy and no way out; `allow_raw` puts in what it names."""
    raw = {"allow_raw": True, "env_vars": ["RAW_TOKEN"]}
    backend = {**ACTS, "command_line_docker_credentials": raw}
    project.write_config(provider.url, agents=("agent_a",), backend=backend)
    script = f"""
seen["direct"] = get("http://127.0.0.1:{site.port}/")
seen["proxy"] = get("http://127.0.0.1:8701/")
"""
    done, seen = looked(project, provider, script, env={"RAW_TOKEN": RAW, "OTHER_TOKEN": TOKEN})
    status = assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    assert seen["environment"]["RAW_TOKEN"] == RAW
    assert "OTHER_TOKEN" not in seen["environment"]
    assert not [n for n in seen["environment"] if n.lower().endswith(("_proxy", "_service_url"))]
    assert (seen["direct"][0], seen["proxy"][0]) == (0, 0)
    assert site.seen == []
    assert "the agent can read these credentials and pass them on: RAW_TOKEN" in done.stderr
    assert RAW not in done.stdout + done.stderr
    private = project.directory / ".massgen" / "runs" / status.meta.run_id
    assert not (private / "egress.jsonl").exists()
    own = [p for p in private.rglob("*") if p.is_file() and private / "answers" not in p.parents]
    assert not [p for p in own if RAW.encode() in p.read_bytes()]


def test_a_recording_has_no_credential_and_its_replay_needs_none(
    project: Project, provider: Provider, engine_view: EngineView, site: Site
) -> None:
    """What an agent prints of its container is masked in the cassette; a replay asks no service."""
    raw = {"allow_raw": True, "env_vars": ["RAW_TOKEN"]}
    backend = {**ACTS, "command_line_docker_credentials": raw}
    service = {
        "url": f"http://127.0.0.1:{site.port}",
        "headers": {"Authorization": "Bearer ${SITE_TOKEN}"},
        "paths": ["/**"],
    }
    runner = {"services": {"site": service}}
    project.write_config(provider.url, agents=("agent_a",), backend=backend, runner=runner)
    script = """
print(os.environ.get("RAW_TOKEN"))
seen["answer"] = get(os.environ["SITE_SERVICE_URL"] + "/a")
"""
    env = {"RAW_TOKEN": RAW, "SITE_TOKEN": TOKEN}
    done, seen = looked(project, provider, script, "--record", env=env)
    status = assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    assert seen["answer"][0] == 200
    assert RAW in provider.requests[-1].body.decode()
    directory = project.directory / ".massgen"
    cassette = directory / "runs" / status.meta.run_id / "cassette.jsonl"
    assert RAW not in cassette.read_text()
    [first] = directory.glob("workspaces/workspace_*")
    replayed = project.massgen("replay", "--automation", program="massgen-runner")
    assert_ended(replayed, ExitCode.SUCCESS, engine_view, project)
    [second] = {*directory.glob("workspaces/workspace_*")} - {first}
    status_code, said = json.loads((second / "seen.json").read_text())["answer"]
    assert status_code == 503
    assert "this is a replay" in said
    assert len(site.seen) == 1


def test_a_credential_that_is_missing(project: Project, provider: Provider) -> None:
    """A run whose services or containers lack a credential does not begin."""
    service = {"url": "http://127.0.0.1:1", "headers": {"A": "${SITE_TOKEN}"}, "paths": ["/**"]}
    raw = {"allow_raw": True, "env_vars": ["RAW_TOKEN"]}
    backend = {**ACTS, "command_line_docker_credentials": raw}
    runner = {"services": {"site": service}}
    project.write_config(provider.url, agents=("agent_a",), backend=backend, runner=runner)
    done = project.answer()
    said = "runner.services.site: no credential for the service site: SITE_TOKEN is set neither in"
    assert_refused(done, project, said, "no credential for the container of agent_a: RAW_TOKEN")
    assert not provider.requests
