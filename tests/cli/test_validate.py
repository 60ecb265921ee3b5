"""`--validate`: what a person and what a program is told, and the exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli.validate import validate
from tests.config.loading import MINIMAL, agent

WARNED = agent("type: openai, model: m, api_version: v1")
WRONG = agent("type: opnai, model: m", "uy: {}\n")


@pytest.mark.parametrize(
    ("text", "strict", "code"),
    [(MINIMAL, False, 0), (WARNED, False, 0), (WARNED, True, 1), (WRONG, False, 1)],
)
def test_exit_code(*, text: str, strict: bool, code: int, tmp_path: Path) -> None:
    """Errors give 1, and with --strict warnings do too."""
    (tmp_path / "c.yaml").write_text(text)
    assert code == validate(str(tmp_path / "c.yaml"), strict, False)


def test_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Problems go to standard error, one a line; what is valid is said on standard output."""
    path = tmp_path / "c.yaml"
    path.write_text(WRONG)
    assert validate(str(path), False, False) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{path}:4: uy: is not a known key: did you mean 'ui'?" in err.splitlines()
    assert err.endswith("not valid (2 errors, 0 warnings)\n")
    path.write_text(WARNED)
    validate(str(path), False, False)
    out, err = capsys.readouterr()
    assert out == f"{path}: valid (0 errors, 1 warning)\n"
    assert err.startswith(f"warning: {path}:3: agents.0.backend.api_version: ")


def test_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json there is one object on standard output, and nothing else."""
    path = tmp_path / "c.yaml"
    path.write_text(WRONG)
    assert validate(str(path), False, True) == 1
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert err == ""
    assert result["valid"] is False
    assert result["warnings"] == []
    assert result["errors"][1] == {
        "file": str(path),
        "line": 4,
        "key": "uy",
        "message": "is not a known key",
        "remedy": "did you mean 'ui'?",
    }


def test_example(capsys: pytest.CaptureFixture[str]) -> None:
    """An example can be named as well as a file."""
    assert validate("@examples/basic/multi/local_two_agents", True, False) == 0
    assert "valid" in capsys.readouterr().out


def test_loading_stays_lean() -> None:
    """Loading a configuration imports no engine, no HTTP library and no display."""
    code = (
        "import sys, runner.config.load;"
        "print([m for m in ('docker', 'aiohttp', 'rich', 'requests', 'tenacity', 'click',"
        "'asyncio', 'watchfiles') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
