"""The page "Read a run's results": its function, run as it is written."""

import json

import pytest

from tests.docs.pages import blocks
from tests.support.massgen import Project
from tests.support.provider import Provider, forever
from tests.support.provider.script import Script

PAGE = "docs/how-to/read-results.md"


def _asked(project: Project) -> dict[str, object]:
    """Run the page's function in a Python of its own; return what it returned."""
    (block,) = (found for found in blocks("python") if found.page == PAGE)
    call = '\n\nprint(json.dumps(ask("Why?", "config.yaml")))\n'
    (project.directory / "ask.py").write_text(block.text + call)
    done = project.massgen("ask.py", program="python")
    assert done.exit_code == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.docker
def test_success(project: Project, provider: Provider) -> None:
    """It returns the answer of a run that succeeds."""
    project.write_config(provider.url)
    result = _asked(project)
    assert (result["exit_code"], result["failed"]) == (0, {})
    assert result["answer"]


@pytest.mark.docker
def test_failure(project: Project, provider: Provider) -> None:
    """It returns code, reason and the agents' errors of a run that fails."""
    provider.play(Script.always(forever(401)))
    project.write_config(provider.url)
    result = _asked(project)
    assert (result["exit_code"], result["answer"]) == (2, None)
    assert set(result["failed"]) == {"agent_a", "agent_b"}  # type: ignore[call-overload]  # a dict


def test_configuration_error(work: Project) -> None:
    """It returns code 1 and no answer where nothing was started."""
    assert _asked(work) == {"exit_code": 1, "answer": None}
