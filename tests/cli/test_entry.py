"""The two commands as a shell meets them: versions, help, usage errors, exit codes."""

import json

import jsonschema
import pytest

from runner import __version__
from runner.cli.group import massgen_runner
from tests.cli.stored_runs import stored_run
from tests.support.massgen import Project

PROGRAMS = ("massgen", "massgen-runner")
COMMANDS = massgen_runner.list_commands(None)  # type: ignore[arg-type]  # needs no context
SHELLS = ("bash", "zsh", "fish")


@pytest.mark.parametrize("program", PROGRAMS)
def test_version(program: str, work: Project) -> None:
    """`--version` names the program and its version, and succeeds."""
    done = work.massgen("--version", program=program)
    assert (done.exit_code, done.stdout) == (0, f"{program} {__version__}\n")


@pytest.mark.parametrize("program", PROGRAMS)
def test_help(program: str, work: Project) -> None:
    """`--help` succeeds, with examples on lines of their own."""
    done = work.massgen("--help", program=program)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"Usage: {program} ")
    assert f"\n    {program} " in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_commands(command: str, work: Project) -> None:
    """Every command has help with an example of itself."""
    done = work.massgen(command, "--help", program="massgen-runner")
    assert done.exit_code == 0, done.stderr
    assert "Example" in done.stdout
    assert f"massgen-runner {command}" in done.stdout


def test_help_names_the_exit_codes(work: Project) -> None:
    """`massgen --help` says what the five exit codes mean."""
    words = work.massgen("--help").stdout
    for part in ("0 success", "1 configuration", "2 execution", "3 timeout", "4 interrupted"):
        assert part in words


@pytest.mark.parametrize(
    ("program", "arguments", "said"),
    [
        ("massgen", ("--no-such-option", "q"), "No such option"),
        ("massgen", ("--config",), "requires an argument"),
        ("massgen", ("--orchestrator-timeout", "soon", "q"), "not a valid float"),
        ("massgen", ("one", "two"), "unexpected extra argument"),
        ("massgen", ("-what?",), "goes after `--`"),
        ("massgen-runner", ("no-such-command",), "No such command"),
        ("massgen-runner", ("ps", "--no-such-option"), "No such option"),
        ("massgen-runner", ("schema", "no-such-schema"), "is not one of"),
        ("massgen-runner", ("completion", "powershell"), "is not one of"),
    ],
)
def test_usage_errors(program: str, arguments: tuple[str, ...], said: str, work: Project) -> None:
    """Wrong usage exits with 1, says what is wrong and where help is, and prints nothing else."""
    done = work.massgen(*arguments, program=program)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert f"Try `{program}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("",), ("  \n ",), ("-",), ()])
def test_no_question(arguments: tuple[str, ...], work: Project) -> None:
    """An empty question, or none on a closed standard input, exits with 1 and starts nothing."""
    done = work.massgen(*arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "question: it is empty" in done.stderr
    assert not (work.directory / ".massgen").exists()


def test_no_configuration(work: Project) -> None:
    """A question without any configuration exits with 1 and says how to give one."""
    done = work.massgen("Why?")
    assert done.exit_code == 1
    assert "--config" in done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_closed_streams(program: str, work: Project) -> None:
    """A command started with closed standard streams ends with its usual code."""
    with work.shell(f"{program} --help <&- >&- 2>&-; exit $?") as running:
        assert running.finish().exit_code == 0


def test_poor_encoding(work: Project) -> None:
    """A terminal without Unicode gets escapes for what it lacks, and no error."""
    stored_run(work.directory, question="Größe → 大?")
    env = {"PYTHONIOENCODING": "latin-1"}
    done = work.massgen("ps", "--all", program="massgen-runner", env=env)
    assert done.exit_code == 0
    assert "\\u2192 \\u5927?" in done.stdout


def test_list_examples(work: Project) -> None:
    """`--list-examples` prints names that `--validate` accepts."""
    done = work.massgen("--list-examples")
    assert done.exit_code == 0
    names = done.stdout.splitlines()
    assert "@examples/basic/multi/local_two_agents" in names
    assert names == sorted(names)
    assert work.massgen("--validate", names[0]).exit_code == 0


@pytest.mark.parametrize("name", ["status", "config"])
def test_schemas(name: str, work: Project) -> None:
    """`schema` prints a valid JSON schema."""
    done = work.massgen("schema", name, program="massgen-runner")
    assert done.exit_code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_scripts(shell: str, work: Project) -> None:
    """`completion` prints one script for both programs."""
    done = work.massgen("completion", shell, program="massgen-runner")
    assert done.exit_code == 0
    assert "_MASSGEN_COMPLETE=" in done.stdout
    assert "_MASSGEN_RUNNER_COMPLETE=" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("massgen --auto", "--automation"),
        ("massgen-runner st", "status stop"),
        ("massgen-runner image b", "build"),
        ("massgen-runner schema ", "status config"),
    ],
)
def test_completion_in_bash(words: str, expected: str, work: Project) -> None:
    """A real bash that has sourced the script completes options, commands and choices."""
    name = words.split(maxsplit=1)[0].replace("-", "_")
    script = f"""
        source <(massgen-runner completion bash)
        COMP_WORDS=({words.replace(" ", '" "').join(('"', '"'))})
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _{name}_completion {words.split(maxsplit=1)[0]}
        echo "${{COMPREPLY[@]}}"
    """
    with work.shell(script) as running:
        done = running.finish()
    assert done.stdout == f"{expected}\n", done.stderr
