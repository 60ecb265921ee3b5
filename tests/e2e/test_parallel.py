"""Many runs at once, from one directory with one configuration. Runs on: host."""

from contextlib import ExitStack

import pytest

from runner.contract.outcome import ExitCode
from tests.support.ends import assert_ended, assert_nothing_left
from tests.support.engine_view import EngineView
from tests.support.massgen import Project
from tests.support.provider import Provider, Rule, Script, Text

pytestmark = pytest.mark.docker
RUNS = 20
LONG_SECONDS = 240


@pytest.mark.slow
def test_twenty_at_once(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """Twenty starts share nothing: each has its own log, workspaces, container and answer."""
    finals = [
        Rule((Text(f"The answer to task {number}."),), step="text", contains=f"Task <{number}>")
        for number in range(RUNS)
    ]
    provider.play(Script(rules=tuple(finals)))
    project.write_config(
        provider.url, backend={"cwd": "workspace1"}, runner={"stall_timeout_seconds": 120}
    )
    with ExitStack() as stack:
        running = [stack.enter_context(project.ask(f"Task <{n}>")) for n in range(RUNS)]
        done = [run.finish(LONG_SECONDS) for run in running]
    for number, one in enumerate(done):
        status = assert_ended(one, ExitCode.SUCCESS, engine_view, project)
        assert status.meta.question == f"Task <{number}>"
        answer = one.log.final_answer(status.results.winner or "").read_text()
        assert answer == f"The answer to task {number}."
    assert len({one.log_dir for one in done}) == RUNS
    assert len(project.run_ids()) == RUNS
    workspaces = list((project.directory / ".massgen" / "workspaces").iterdir())
    assert len(workspaces) == 2 * RUNS
    assert all(path.name.startswith("workspace1_") for path in workspaces)
    assert_nothing_left(engine_view, project, *project.run_ids())


def test_two_directories(project: Project, provider: Provider, engine_view: EngineView) -> None:
    """Interrupting one run leaves another one alone."""
    project.write_config(provider.url)
    with project.ask("First?") as first, project.ask("Second?") as second:
        first.wait_log_dir()
        first.process.terminate()
        ended = first.finish()
        assert ended.exit_code in {ExitCode.INTERRUPTED, ExitCode.SUCCESS}
        assert_ended(second.finish(), ExitCode.SUCCESS, engine_view, project)
