"""`massgen-runner keys`: names and sources, never values."""

import json
import re
from pathlib import Path

import pytest

from tests.support.file_keyring import BACKEND, FILE_VARIABLE
from tests.support.massgen import Completed, Project
from tests.support.planted_keys import planted_keys, search
from tests.support.provider import Provider, refused_url

ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def somewhere(tmp_path: Path) -> Project:
    """A project that needs no engine."""
    return Project(tmp_path)


def keys(project: Project, *arguments: str, **environ: str) -> Completed:
    return project.massgen("keys", *arguments, program="massgen-runner", env=environ)


def rows(done: Completed) -> dict[str, dict[str, object]]:
    """Return the rows of `--json` by name."""
    return {row["name"]: row for row in json.loads(done.stdout)["keys"]}


def test_each_source_is_named_and_no_value(somewhere: Project) -> None:
    """Environment, .env, file, command and keyring are told as sources; no value is printed."""
    names = ("OPENAI_API_KEY", "GROQ_API_KEY", "XAI_API_KEY", "MISTRAL_API_KEY", "ZAI_API_KEY")
    planted = planted_keys(*names)
    (somewhere.directory / ".env").write_text(f"GROQ_API_KEY={planted['GROQ_API_KEY']}\n")
    (somewhere.root / "xai").write_text(planted["XAI_API_KEY"])
    (somewhere.root / "store").mkdir()
    (somewhere.root / "store" / "MISTRAL_API_KEY").write_text(planted["MISTRAL_API_KEY"])
    ring = somewhere.root / "ring.json"
    ring.write_text(json.dumps({"massgen-runner": {"ZAI_API_KEY": planted["ZAI_API_KEY"]}}))
    settings = somewhere.home / ".config" / "massgen" / "runner.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"credential_command: [cat, '{somewhere.root}/store/{{name}}']\n")
    environ = {
        "OPENAI_API_KEY": planted["OPENAI_API_KEY"],
        "XAI_API_KEY_FILE": str(somewhere.root / "xai"),
        "PYTHON_KEYRING_BACKEND": BACKEND,
        "PYTHONPATH": ROOT,
        FILE_VARIABLE: str(ring),
    }
    done = keys(somewhere, "--json", **environ)
    assert done.exit_code == 0, done
    found = rows(done)
    assert found["openai"]["source"] == "the environment"
    assert found["groq"]["source"] == str(somewhere.directory / ".env")
    assert found["grok"]["source"] == str(somewhere.root / "xai")
    assert found["mistral"]["source"] == "the credential command (cat)"
    assert found["zai"]["source"] == "the system keyring (massgen-runner)"
    assert found["claude"]["state"] == "missing"
    assert found["ollama"]["state"] == "not needed"
    for_people = keys(somewhere, **environ)
    assert "grok " in for_people.stdout
    said = [("json", done.stdout.encode()), ("text", for_people.stdout.encode())]
    assert search(planted, [*said, ("stderr", (done.stderr + for_people.stderr).encode())]) == []


def test_a_locked_keyring_is_told(somewhere: Project) -> None:
    """A keyring that cannot be opened is no traceback, but a reason beside the missing key."""
    environ = {"PYTHON_KEYRING_BACKEND": BACKEND, "PYTHONPATH": ROOT}
    done = keys(somewhere, "--json", **environ, **{FILE_VARIABLE: str(somewhere.root / "none")})
    assert done.exit_code == 0, done
    assert "the collection is locked" in str(rows(done)["claude"]["problem"])


def test_check_asks_the_provider(somewhere: Project, provider: Provider) -> None:
    """A key that is taken is valid, another is refused; the header is the provider's own."""
    right, wrong = planted_keys("RIGHT", "WRONG").values()
    provider.expect_key(right)
    somewhere.write_config(
        provider.url,
        agents=("right", "wrong", "claude"),
        backends={
            "right": {"api_key": "${RIGHT_KEY}"},
            "wrong": {"api_key": "${WRONG_KEY}"},
            "claude": {"type": "claude", "api_key": "${RIGHT_KEY}"},
        },
    )
    arguments = ("--config", "config.yaml", "--check")
    done = keys(somewhere, *arguments, "--json", RIGHT_KEY=right, WRONG_KEY=wrong)
    assert done.exit_code == 1, done
    verdicts = {name: row["check"]["verdict"] for name, row in rows(done).items()}  # type: ignore[index]
    assert verdicts == {"right": "valid", "wrong": "refused", "claude": "valid"}
    assert wrong not in done.stdout + done.stderr
    assert keys(somewhere, *arguments, RIGHT_KEY=right, WRONG_KEY=right).exit_code == 0


def test_check_of_a_provider_that_is_not_there(somewhere: Project) -> None:
    """A provider that cannot be reached says nothing about the key: the command tells so."""
    [key] = planted_keys("A").values()
    with refused_url() as url:
        somewhere.write_config(url, agents=("one",), backend={"api_key": "${A_KEY}"})
        done = keys(somewhere, "--config", "config.yaml", "--check", A_KEY=key)
    assert done.exit_code == 1, done
    assert re.search(r"one +A_KEY from the environment: unreachable \(.+\)", done.stdout)
    assert key not in done.stdout + done.stderr


def test_a_key_that_a_configuration_needs_and_that_is_missing(somewhere: Project) -> None:
    """With --config a missing key is an error; without, most providers' keys are missing."""
    somewhere.write_config("http://127.0.0.1:9/v1", backend={"api_key": "${ABSENT_KEY}"})
    done = keys(somewhere, "--config", "config.yaml")
    assert done.exit_code == 1, done
    assert "no key: set ABSENT_KEY" in done.stdout
    assert keys(somewhere).exit_code == 0
