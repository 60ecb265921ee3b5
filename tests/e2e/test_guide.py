"""The automation guide's examples, run as they are written. Runs on: host."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runner.contract.outcome import ExitCode
from tests.support.ends import assert_ended, assert_stdout
from tests.support.engine_view import EngineView
from tests.support.massgen import Completed, Project
from tests.support.provider import Provider

pytestmark = pytest.mark.docker

GUIDE = Path(__file__).with_name("automation-guide.rst")
_UV = '#!/bin/sh\n[ "$1" = run ] && shift\nexec "$@"\n'


class Block(NamedTuple):
    language: str
    text: str
    line: int


def blocks() -> list[Block]:
    """Return the guide's code blocks in order, without their indentation."""
    lines = GUIDE.read_text().splitlines()
    found = []
    for number, line in enumerate(lines):
        match = re.fullmatch(r"( *)\.\. code-block:: (\w+)", line)
        if match is None:
            continue
        body = []
        for text in lines[number + 1 :]:
            if text.strip() and not text.startswith(match[1] + " "):
                break
            body.append(text)
        indent = min(len(text) - len(text.lstrip()) for text in body if text.strip())
        code = "\n".join(text[indent:] for text in body).strip() + "\n"
        found.append(Block(match[2], code, number + 1))
    return found


def block(containing: str, language: str) -> str:
    """Return the first block of a language that contains a text."""
    return next(b.text for b in blocks() if b.language == language and containing in b.text)


RUN_HERE = (
    'massgen --automation --config your_config.yaml "Your question here"',
    "for i in {1..5}",
    "def read_massgen_results",
    '"completion_percentage": 65',
    "LOG_DIR: /path/to/",
    "execution_metadata.yaml       # Session metadata",
    "shell_id = start_shell(\n",
    "def run_massgen_automation",
    "def run_experiments_in_parallel",
    "def optimize_config",
    "def ab_test_configs",
)
"""A text of each block that a test below runs or holds against a run."""
NEEDS_NESTED_RUNS = (
    "@examples/configs/meta/",
    "massgen/configs/meta/",
    'id: "meta_agent"',
    'command_line_execution_mode: "docker"',
)
FRAGMENTS = (
    "result = run_massgen_automation(config, question, timeout_seconds=300)",
    "if shell_id:",
    "Instance 1:",
    "log_YYYYMMDD_HHMMSS_ffffff/status.json",
    'elif result["exit_code"] == 3',
    'status["agents"]["agent_a"]["error"]',
    "if answer_file.exists():",
    "orchestrator_timeout_seconds: 300",
    'model: "gpt-4o-mini"',
)
"""Parts of a file or a program that do not run by themselves."""


def test_every_block_is_accounted_for() -> None:
    """Each block of the guide is run here, or stands in a list that says why not."""
    known = RUN_HERE + NEEDS_NESTED_RUNS + FRAGMENTS
    strange = [b.line for b in blocks() if not any(text in b.text for text in known)]
    assert strange == []


@pytest.fixture
def guided(project: Project, provider: Provider) -> Project:
    """A project with the configurations that the guide's lines name, and `uv` on PATH."""
    for name in ("your_config.yaml", "my_config.yaml", "config.yaml"):
        project.write_config(provider.url, name)
    return project


def _bash(project: Project, script: str) -> Completed:
    """Run a shell example; where `uv` is not installed, one that only knows `run`."""
    tools = project.root / "tools"
    tools.mkdir(exist_ok=True)
    if shutil.which("uv", path=project.environment["PATH"]) is None:
        (tools / "uv").write_text(_UV)
        (tools / "uv").chmod(0o755)
    path = f"{tools}:{project.environment['PATH']}"
    with project.shell(script, env={"PATH": path}) as running:
        return running.finish()


def _python(project: Project, script: str) -> str:
    """Run a Python example from a file of its own and return what it printed."""
    (project.directory / "example.py").write_text(script)
    done = _bash(project, f"{sys.executable} example.py")
    assert done.exit_code == 0, done
    return done.stdout


def _without_uv(script: str) -> str:
    return script.replace("uv run massgen", "massgen")


@pytest.mark.parametrize("uv", [True, False])
def test_basic_automation(guided: Project, engine_view: EngineView, *, uv: bool) -> None:
    """The first command of the guide, with and without `uv run`."""
    script = block("your_config.yaml", "bash")
    done = _bash(guided, script if uv else _without_uv(script))
    assert_ended(done, ExitCode.SUCCESS, engine_view, guided)
    shown = block("LOG_DIR: /path/to/", "text")
    assert [line.partition(":")[0] for line in shown.splitlines()] == [
        line.partition(":")[0] for line in done.stdout.splitlines()
    ]


def test_validation(guided: Project) -> None:
    """The troubleshooting section's `--validate --config` finds nothing wrong."""
    command = "uv run massgen --validate --config your_config.yaml"
    assert f"``{command}``" in GUIDE.read_text()
    assert _bash(guided, command).exit_code == 0


@pytest.mark.slow
def test_five_in_parallel(guided: Project, engine_view: EngineView) -> None:
    """The guide's loop of five runs: five answers, five log directories."""
    done = _bash(guided, block("for i in {1..5}", "bash"))
    assert done.exit_code == 0, done
    log_dirs = sorted(set(re.findall(r"^LOG_DIR: (.*)$", done.stdout, re.MULTILINE)))
    assert len(log_dirs) == 5
    questions = set()
    for log_dir in log_dirs:
        status = json.loads((Path(log_dir) / "status.json").read_text())
        assert status["meta"]["outcome"]["exit_code"] == 0
        questions.add(status["meta"]["question"])
        assert engine_view.containers(status["meta"]["run_id"]) == []
    assert questions == {f"Task {number}" for number in range(1, 6)}


def test_background_shell(guided: Project) -> None:
    """The basic use of BackgroundShellManager: start, poll, read the exit code and the output."""
    printed = _python(guided, block("shell_id = start_shell(\n", "python"))
    assert "Exit code: 0" in printed
    assert "COMPLETED: 2 agents" in printed


def test_recommended_pattern(guided: Project) -> None:
    """`run_massgen_automation`, the whole program, gets its answer."""
    printed = _python(guided, block("def run_massgen_automation", "python"))
    assert "Progress: 100%" in printed
    assert "Success! Answer: " in printed
    assert "Full logs: " in printed


def test_recommended_pattern_on_a_failure(guided: Project, refused_provider_url: str) -> None:
    """The same program says so when no agent can finish."""
    guided.write_config(refused_provider_url, "my_config.yaml")
    printed = _python(guided, block("def run_massgen_automation", "python"))
    assert "Failed: Process failed with exit code 2" in printed


def test_experiments_in_parallel(guided: Project, provider: Provider) -> None:
    """`run_experiments_in_parallel` runs three configurations at once."""
    for name in ("config_fast.yaml", "config_thorough.yaml", "config_creative.yaml"):
        guided.write_config(provider.url, name)
    # The guide's block uses a name that it forgets to import.
    missing = "from massgen.filesystem_manager.background_shell import get_shell_output\n"
    printed = _python(guided, missing + block("def run_experiments_in_parallel", "python"))
    assert len(re.findall(r"^config_\w+\.yaml: stopped in [\d.]+s$", printed, re.MULTILINE)) == 3


@pytest.mark.slow
def test_tuning_and_comparing(guided: Project) -> None:
    """`optimize_config` finds the fastest of six variants; `ab_test_configs` compares two."""
    pattern = block("def run_massgen_automation", "python").partition("# Usage example")[0]
    script = (
        pattern,
        block("def optimize_config", "python"),
        block("def ab_test_configs", "python"),
        "import yaml",
        "base = yaml.safe_load(open('my_config.yaml'))",
        "print('best:', optimize_config(base, 'Which?')['status'])",
        "print('rates:', ab_test_configs('my_config.yaml', 'config.yaml', ['Why?', 'How?']))",
    )
    printed = _python(guided, "\n".join(script))
    assert "best: success" in printed
    assert printed.count("'success_rate': 1.0") == 2


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the guide's own habit
def test_reading_results(guided: Project) -> None:
    """`read_massgen_results` reads a run's directory."""
    done = guided.answer("Your question?")
    namespace: dict[str, Any] = {}
    exec(block("def read_massgen_results", "python"), namespace)  # noqa: S102 - the guide's code
    results = namespace["read_massgen_results"](done.log_dir)
    assert results["winner"] == done.said["WINNER"]
    assert results["answer"] == done.log.final_answer(results["winner"]).read_text()
    assert results["question"] == "Your question?"
    assert sum(results["votes"].values()) == 2
    assert len(results["config"]["agents"]) == 2
    assert results["duration"] > 0


def _missing(shown: Any, real: Any, at: str = "") -> list[str]:
    """Return the fields of the guide's example that a real status has not, or otherwise."""
    if isinstance(shown, dict) and at.endswith((".agents", ".votes")):
        return [
            problem
            for value in real.values()
            for example in shown.values()
            for problem in _missing(example, value, f"{at}.*")
        ]
    if isinstance(shown, dict) and isinstance(real, dict):
        absent = [f"{at}.{name}" for name in shown if name not in real]
        deeper = [p for n in shown if n in real for p in _missing(shown[n], real[n], f"{at}.{n}")]
        return absent + deeper
    if shown is None or real is None or type(shown) is type(real):
        return []
    return [f"{at}: {type(real).__name__} instead of {type(shown).__name__}"]


def test_status_has_the_guides_fields(guided: Project) -> None:
    """status.json has every field of the guide's example, with the same types."""
    done = guided.answer()
    shown = json.loads(block('"completion_percentage": 65', "json"))
    assert _missing(shown, json.loads(done.log.status.read_text())) == []


def test_log_directory_has_the_guides_files(guided: Project) -> None:
    """The files of the guide's tree are there."""
    done = guided.answer()
    tree = block("execution_metadata.yaml       # Session metadata", "text")
    listed = re.findall(r"^[├└]── ([\w.]+\.\w+)", tree, re.MULTILINE)
    assert len(listed) == 5
    winner = Path("final") / done.said["WINNER"]
    for name in [
        *listed,
        winner / "answer.txt",
        winner / "context.txt",
        "agent_outputs/agent_a.txt",
    ]:
        assert (done.log_dir / name).is_file(), name
    assert (done.log_dir / winner / "workspace").is_dir()


@pytest.mark.parametrize("code", ["0", "1", "2"])
def test_exit_codes(guided: Project, refused_provider_url: str, code: str) -> None:
    """A shell script sees the exit codes of the guide."""
    config = {"0": "my_config.yaml", "1": "absent.yaml", "2": "dead.yaml"}[code]
    guided.write_config(refused_provider_url, "dead.yaml")
    line = f'uv run massgen --automation --config {config} "Your question"; echo "code $?" >&2'
    done = _bash(guided, line)
    assert done.stderr.splitlines()[-1] == f"code {code}"
    if code != "1":
        assert_stdout(done._replace(exit_code=int(code)))
