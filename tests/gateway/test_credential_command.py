"""Keys that a program of the user's prints."""

import json
import os
import sys
from pathlib import Path

import pytest

from runner.config.providers import PROVIDERS
from runner.errors import ConfigurationError
from runner.gateway.credential_command import ask_command, with_name
from runner.gateway.credentials import Credential, CredentialRequest, load_credentials

VALUE = "planted-0123456789-planted"
SHAPED = "sk-proj-" + "Ab3" * 12


def program(home: Path, body: str) -> list[str]:
    """Write a program in Python and make it the user's credential command."""
    path = home / "store.py"
    path.write_text(f"import os, sys\n{body}\n")
    command = [sys.executable, str(path)]
    settings = home / ".config" / "massgen" / "runner.yaml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps({"credential_command": command}))
    return command


def ask(home: Path, provider: str = "openai", **environ: str) -> Credential | None:
    request = CredentialRequest("agent_a", PROVIDERS[provider])
    known = {"HOME": str(home), "PATH": os.environ["PATH"], **environ}
    return load_credentials([request], environ=known, cwd=home)["agent_a"]


def problem(home: Path, provider: str = "openai") -> str:
    with pytest.raises(ConfigurationError) as caught:
        ask(home, provider)
    [line] = caught.value.problems
    assert VALUE not in line
    assert "\n" not in line
    return line


def test_the_first_line_is_the_key(tmp_path: Path) -> None:
    """The program's first line is the key of the variable that is its last argument."""
    program(tmp_path, f"print(sys.argv[1] + '={VALUE}')\nprint('user: me')")
    found = ask(tmp_path)
    assert found is not None
    assert found.reveal() == f"OPENAI_API_KEY={VALUE}"
    assert found.source.startswith("the credential command")
    assert VALUE not in repr(found)


def test_the_name_stands_where_it_is_wanted() -> None:
    """`{name}` is replaced in every argument; without it the name comes last. The program's stays.

    There is no shell: what a shell would read as its own is passed as it is.
    """
    assert with_name(["pass", "show", "llm/{name}"], "A_KEY") == ["pass", "show", "llm/A_KEY"]
    assert with_name(["op", "read", "op://{name}/{name}"], "A") == ["op", "read", "op://A/A"]
    assert with_name(["pass", "show"], "A_KEY") == ["pass", "show", "A_KEY"]
    assert with_name(["{name}", "$HOME; ls"], "A") == ["{name}", "$HOME; ls", "A"]


def test_files_and_the_environment_come_before_it(tmp_path: Path) -> None:
    """Nothing is started for a key that is in the environment or in a file."""
    program(tmp_path, "open('started', 'w')")
    found = ask(tmp_path, OPENAI_API_KEY="from-environment")
    assert found is not None
    assert found.source == "the environment"
    found = ask(tmp_path, "gemini", GOOGLE_API_KEY="second-variable")
    assert found is not None
    assert found.reveal() == "second-variable"


def test_it_runs_once_for_each_variable(tmp_path: Path) -> None:
    """Two agents with the same key cost one question to the store."""
    log = tmp_path / "asked"
    program(tmp_path, f"open({str(log)!r}, 'a').write(sys.argv[1] + '\\n')\nprint({VALUE!r})")
    requests = [
        CredentialRequest("one", PROVIDERS["openai"]),
        CredentialRequest("two", PROVIDERS["openai"]),
        CredentialRequest("three", PROVIDERS["groq"]),
    ]
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    load_credentials(requests, environ=environ, cwd=tmp_path)
    assert log.read_text().split() == ["OPENAI_API_KEY", "GROQ_API_KEY"]


def test_its_environment_has_no_model_key(tmp_path: Path) -> None:
    """The program gets what unlocks the store, and no key of another model."""
    seen = tmp_path / "seen"
    program(
        tmp_path,
        f"import json\nopen({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))\n"
        f"print({VALUE!r})",
    )
    planted = {"ANTHROPIC_API_KEY": "one", "MY_OWN_API_KEY": "two", "GPG_TTY": "/dev/pts/9"}
    ask(tmp_path, BW_SESSION="session", **planted)
    environ = json.loads(seen.read_text())
    assert environ["GPG_TTY"] == "/dev/pts/9"
    assert environ["BW_SESSION"] == "session"
    assert not {"ANTHROPIC_API_KEY", "MY_OWN_API_KEY"} & environ.keys()


def test_a_program_that_fails_has_no_such_key(tmp_path: Path) -> None:
    """The next variable is tried, and the message ends with the last line of stderr, masked."""
    program(
        tmp_path,
        "if sys.argv[1] == 'GOOGLE_API_KEY': sys.exit(print('the-second'))\n"
        f"print('noise', file=sys.stderr)\nprint('no entry {SHAPED}', file=sys.stderr)\n"
        f"print({VALUE!r})\nsys.exit(3)",
    )
    found = ask(tmp_path, "gemini")
    assert found is not None
    assert found.variable == "GOOGLE_API_KEY"
    text = problem(tmp_path)
    assert "nor in the credential command" in text
    assert "ended with 3 (no entry [redacted])" in text
    assert "noise" not in text


def test_a_program_that_prints_nothing_has_no_such_key(tmp_path: Path) -> None:
    """Empty output counts as not set."""
    program(tmp_path, "print()")
    assert "OPENAI_API_KEY is set neither" in problem(tmp_path)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("print('x' * 1_000_000)", "printed more than"),
        ("sys.stdout.buffer.write(b'\\xff\\xfe')", "printed no text"),
        (f"print('{VALUE}\\x07{VALUE}')", "control character"),
    ],
)
def test_output_that_is_no_key(tmp_path: Path, body: str, said: str) -> None:
    """Too much output, bytes that are no text and control characters are told, never shown."""
    program(tmp_path, body)
    assert said in problem(tmp_path)


def test_a_program_that_does_not_end_is_killed(tmp_path: Path) -> None:
    """After its deadline the program is gone, and the message says how long was waited."""
    pid_file = tmp_path / "pid"
    body = f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))\nimport time\ntime.sleep(600)"
    command = program(tmp_path, body)
    with pytest.raises(ConfigurationError, match="did not end within 1 s"):
        ask_command(command, "A_KEY", dict(os.environ), deadline_seconds=1.0)
    assert not pid_file.exists() or not Path(f"/proc/{pid_file.read_text()}").exists()


def test_an_agent_that_it_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    """A store's background agent that keeps stderr open does not hold the run up."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    body = (
        "import subprocess\n"
        f"subprocess.Popen(['cat', {str(gate)!r}], stdout=subprocess.DEVNULL)\nprint({VALUE!r})"
    )
    command = program(tmp_path, body)
    try:
        assert ask_command(command, "A_KEY", dict(os.environ)).value == VALUE
    finally:
        gate.open("w").close()  # lets `cat` end


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """A program that cannot be started is named with the file to mend."""
    settings = tmp_path / ".config" / "massgen" / "runner.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("credential_command: [/no/such/store, show]\n")
    text = problem(tmp_path)
    assert "/no/such/store cannot be started" in text
    assert "runner.yaml" in text
