"""The commands of a checkout: quickstart, test, check."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ("quickstart", "test", "check")


def run(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a script from some directory with an environment that has nothing but a PATH."""
    return subprocess.run(
        [str(ROOT / "scripts" / script), *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
        text=True,
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_needs_nothing(tmp_path: Path, script: str) -> None:
    """--help explains the script from any directory, and sets nothing up."""
    done = run(script, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"./scripts/{script}" in done.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("quickstart", ["--upp"], "error: unknown option --upp"),
        ("quickstart", ["What", "now?"], "error: one question is wanted: put it in quotes"),
        ("check", ["--docke"], "error: unknown argument --docke"),
    ],
)
def test_mistake_is_said_with_the_usage(
    tmp_path: Path, script: str, arguments: list[str], message: str
) -> None:
    """A wrong argument ends the script with 1 before anything is set up."""
    done = run(script, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(f"{message}\n")
    assert done.stderr.startswith("usage:")


def test_python_that_is_too_old_is_named_with_the_remedy(tmp_path: Path) -> None:
    """Where no Python will do, the one sentence says which is needed and how to get it."""
    for name in ("scripts", "requirements"):
        (tmp_path / name).symlink_to(ROOT / name)
    code = f"cd {tmp_path}; set -eu; . scripts/lib.sh; make_environment"
    done = subprocess.run(
        ["sh", "-c", code],
        env={"PATH": "/usr/bin:/bin", "PYTHON": "/bin/false"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 1
    assert "error: Python 3.11 or later is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()
