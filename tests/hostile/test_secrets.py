"""No credential anywhere but in the header that it is meant for. Runs on: host."""

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import JsonValue

from runner.contract.outcome import ExitCode
from tests.support.ends import assert_refused
from tests.support.engine_view import EngineView
from tests.support.massgen import Completed, Project
from tests.support.planted_keys import files_below, planted_keys, processes, search
from tests.support.provider import (
    CloseAfter,
    Garbage,
    Hold,
    Html,
    Provider,
    RefuseConnection,
    Reply,
    Rule,
    Script,
    Silence,
    Status,
    StreamError,
    Text,
    forever,
)

pytestmark = pytest.mark.docker

SOURCES = {"agent_a": "ENV_KEY", "agent_b": "DOTENV_KEY", "agent_c": "FILED_KEY"}
HEADERS = {"agent_a": "Authorization", "agent_b": "x-api-key", "agent_c": "Authorization"}


class Planted(NamedTuple):
    """A project with three agents, whose keys come from environment, .env and a file."""

    project: Project
    keys: dict[str, str]
    env: dict[str, str]

    def config(self, url: str, **runner: float) -> None:
        backends = {agent: {"api_key": f"${{{name}}}"} for agent, name in SOURCES.items()}
        backends["agent_b"] |= {"type": "claude"}
        self.project.write_config(url, agents=list(SOURCES), backends=backends, runner=runner)


@pytest.fixture
def planted(project: Project) -> Planted:
    keys = planted_keys(*SOURCES.values())
    secret_files = project.root / "secret"
    secret_files.mkdir()
    (secret_files / "key").write_text(keys["FILED_KEY"] + "\n")
    (project.directory / ".env").write_text(f"DOTENV_KEY={keys['DOTENV_KEY']}\n")
    env = {"ENV_KEY": keys["ENV_KEY"], "FILED_KEY_FILE": str(secret_files / "key")}
    return Planted(project, keys, env)


def _places(project: Project, done: Completed) -> Iterator[tuple[str, bytes]]:
    for root in (project.directory / ".massgen", project.home, project.tmp):
        yield from files_below(root)
    yield "stdout", done.stdout.encode()
    yield "stderr", done.stderr.encode()


def _sent(provider: Provider) -> Iterator[tuple[str, bytes]]:
    """Yield what the provider was sent, but for the headers where keys belong."""
    for entry in provider.requests:
        yield f"body of request {entry.number}", entry.body
        yield f"path of request {entry.number}", entry.path.encode()
        for name, value in entry.headers:
            if name.lower() not in {"authorization", "x-api-key"}:
                yield f"header {name} of request {entry.number}", value.encode()


def _assert_no_leak(
    planted: Planted, provider: Provider, engine: EngineView, done: Completed
) -> None:
    assert search(planted.keys, _places(planted.project, done)) == []
    assert search(planted.keys, _sent(provider)) == []
    assert search(planted.keys, engine.texts()) == []


def _assert_right_headers(provider: Provider, keys: Mapping[str, str]) -> None:
    for agent, name in SOURCES.items():
        for entry in provider.log.matching(model=f"model-{agent}"):
            prefix = "" if agent == "agent_b" else "Bearer "
            assert entry.header(HEADERS[agent]) == prefix + keys[name]
            others = {"Authorization", "x-api-key", "api-key"} - {HEADERS[agent]}
            assert [entry.header(other) for other in others] == [None] * len(others)


def test_while_a_run_is_at_work(
    planted: Planted, provider: Provider, engine_view: EngineView
) -> None:
    """Keys reach the provider in their headers, and nothing else on the machine has them."""
    gate = Hold("gate", Text("Done."))
    provider.play(Script(rules=(Rule((gate,), step="text"),)))
    planted.config(provider.url, stall_timeout_seconds=60)
    with planted.project.ask("Why?", "--debug", env=planted.env) as running:
        provider.log.wait_for_requests(1, step="text")
        run_id = running.wait_run_id()
        pids = engine_view.processes(run_id)
        assert search(planted.keys, processes(pids)) == []
        command = Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
        assert search(planted.keys, [("command line", command)]) == []
        _assert_no_leak(planted, provider, engine_view, running.output)
        provider.release("gate")
        done = running.finish()
    assert done.exit_code == ExitCode.SUCCESS, done
    _assert_right_headers(provider, planted.keys)
    _assert_no_leak(planted, provider, engine_view, done)


FAULTS: dict[str, Reply] = {
    "401": forever(401),
    "500": forever(500),
    "reset": RefuseConnection(),
    "half": CloseAfter(2),
    "error event": StreamError(),
    "garbage": Garbage(),
    "page": Html(),
    "silent": Silence(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault(
    planted: Planted, provider: Provider, engine_view: EngineView, fault: str
) -> None:
    """No fault of a provider brings a key into a log or a message, also with --debug."""
    provider.always(FAULTS[fault])
    planted.config(provider.url)
    done = planted.project.answer("Why?", "--debug", env=planted.env)
    assert done.exit_code == ExitCode.EXECUTION, done
    _assert_right_headers(provider, planted.keys)
    _assert_no_leak(planted, provider, engine_view, done)


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_provider_that_repeats_the_key(
    planted: Planted, provider: Provider, engine_view: EngineView, status: int
) -> None:
    """An error that quotes the key, as some providers' do, is passed on without it."""
    rules = []
    for agent, name in SOURCES.items():
        message = f"Incorrect API key provided: {planted.keys[name]}. Find yours in your account."
        body: JsonValue = {"type": "error", "error": {"type": "error", "message": message}}
        reply = Status(status, body=body, times=100, headers={"x-echo": planted.keys[name]})
        rules.append(Rule((reply,), model=f"model-{agent}"))
    provider.play(Script(rules=tuple(rules)))
    planted.config(provider.url)
    done = planted.project.answer("Why?", "--debug", env=planted.env)
    assert done.exit_code == ExitCode.EXECUTION, done
    _assert_no_leak(planted, provider, engine_view, done)


def test_redirected_request(planted: Planted, provider: Provider, engine_view: EngineView) -> None:
    """A provider's redirect to elsewhere does not take the key along."""
    with Provider() as elsewhere:
        target = f"{elsewhere.url}/chat/completions"
        provider.always(Status(307, headers={"Location": target}, times=1000))
        planted.config(provider.url)
        done = planted.project.answer(env=planted.env)
        assert done.exit_code == ExitCode.EXECUTION, done
        sent = [(name, value.encode()) for e in elsewhere.requests for name, value in e.headers]
    assert search(planted.keys, sent) == []
    _assert_no_leak(planted, provider, engine_view, done)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_after_an_interrupt(
    planted: Planted, provider: Provider, engine_view: EngineView, number: signal.Signals
) -> None:
    """An interrupted or killed command leaves no key behind."""
    provider.always(Silence())
    planted.config(provider.url, stall_timeout_seconds=60)
    with planted.project.ask("Why?", "--debug", env=planted.env) as running:
        provider.log.wait_for_requests(3)
        running.send(number)
        done = running.finish()
    _assert_no_leak(planted, provider, engine_view, done)
    assert planted.project.massgen("clean", program="massgen-runner").exit_code == 0


def test_missing_key(project: Project) -> None:
    """A key that is missing is named by its variable, before anything starts."""
    project.write_config("http://127.0.0.1:9/v1", backend={"api_key": "${ABSENT_KEY}"})
    assert_refused(project.answer(), project, "ABSENT_KEY")


def test_secret_in_the_configuration(project: Project) -> None:
    """A secret written into the configuration is refused by line, and not repeated."""
    secret = "sk-proj-" + "Ab3" * 16
    path = project.write_config("http://127.0.0.1:9/v1", backend={"api_key": secret})
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "api_key" in text)
    done = project.answer()
    assert_refused(done, project, f"config.yaml:{line}:", "api_key")
    assert secret not in done.stderr
