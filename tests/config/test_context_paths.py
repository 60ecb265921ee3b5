"""Which context paths a configuration may have."""

from pathlib import Path

import pytest

from tests.config.loading import MINIMAL, load, problems


def context(entry: str) -> str:
    return f"{MINIMAL}orchestrator: {{context_paths: [{entry}]}}\n"


def test_a_path_to_read(tmp_path: Path) -> None:
    """A path is read-only where nothing else is said."""
    [path] = load(tmp_path, context("{path: docs/}")).config.orchestrator.context_paths
    assert (path.path, path.permission) == ("docs/", "read")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{path: docs, permission: write}", "is not available yet (allowed: read)"),
        ("{path: ''}", "is no path"),
        ("{path: docs, protected_paths: [../x]}", "leads out of the context path"),
    ],
)
def test_what_is_refused(entry: str, said: str, tmp_path: Path) -> None:
    """What cannot be carried out is an error with its line, never ignored."""
    [problem] = problems(tmp_path, context(entry))
    assert problem.startswith("c.yaml:4: orchestrator.context_paths.0.")
    assert said in problem
