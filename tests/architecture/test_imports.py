"""What may import what, and what the quick commands may import at all."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "runner").rglob("*.py"))
SIDES = (
    "Runs on: host.",
    "Runs on: the run container.",
    "Runs on: the agent container.",
    "Runs on: both sides.",
)
MAX_LINES = 450
HEAVY = ("docker", "pydantic", "aiohttp", "rich", "yaml", "watchfiles", "tenacity", "requests")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imported(path: Path) -> Iterator[str]:
    """Yield the top-level names that a module imports, anywhere in it, but not for types alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


def test_import_contracts() -> None:
    """Imports go downwards only, and the run container imports the contract alone."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_one_module_imports_docker() -> None:
    """Only the engine's module speaks to the container engine's library."""
    assert [_name(p) for p in MODULES if "docker" in _imported(p)] == ["runner/host/engine.py"]


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_module(path: Path) -> None:
    """A module is small, and its docstring begins with what it is and ends with where it runs."""
    text = path.read_text()
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, f"{_name(path)} has no docstring"
    first_paragraphs = " ".join(docstring.split("\n\n")[:2])
    assert any(side in first_paragraphs for side in SIDES), docstring
    assert len(text.splitlines()) <= MAX_LINES


@pytest.mark.parametrize("program", ["massgen", "massgen-runner"])
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_is_light(program: str, option: str) -> None:
    """Help and version import click and nothing heavy."""
    function = program.replace("-", "_")
    code = (
        "import sys\n"
        f"sys.argv = [{program!r}, {option!r}]\n"
        "from runner.cli import entry\n"
        f"try:\n    entry.{function}()\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
