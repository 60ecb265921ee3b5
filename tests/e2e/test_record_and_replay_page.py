"""The page on recording and replaying, its commands as they are written. Runs on: host."""

import re
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from runner.contract.outcome import ExitCode
from tests.support.ends import assert_ended
from tests.support.engine_view import EngineView
from tests.support.massgen import Project
from tests.support.provider import Provider

pytestmark = pytest.mark.docker

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "record-and-replay.md"
EXAMPLE = Path(__file__).parent / "cassettes" / "capital.jsonl"


def test_every_command_of_the_page_works(project: Project) -> None:
    """In the order of the page, in one directory; only runs that are no replays have a provider."""
    commands = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(commands) == 8
    with Provider() as provider:
        project.write_config(provider.url, "team.yaml")
        with project.shell(f"set -e\n{commands[0]}") as running:
            done = running.finish()
    assert done.exit_code == 0, done
    assert re.search(r"Recorded: /.*/\.massgen/runs/.*/cassette\.jsonl \(\d+ model", done.stderr)
    for command in commands[1:]:
        with ExitStack() as stack:
            if command.startswith("massgen "):
                url = stack.enter_context(Provider()).url
                project.write_config(url, "team.yaml")
            running = stack.enter_context(project.shell(f"set -e\n{command}"))
            done = running.finish()
        assert done.exit_code == 0, f"{command}: {done}"
        if "--question" in command:
            [said] = re.findall(r"```\n(Replay: .*: )'", PAGE.read_text("utf-8"))
            assert said in done.stderr


def test_a_cassette_that_was_kept_is_replayed(project: Project, engine_view: EngineView) -> None:
    """A cassette in the tests' own directory gives its winner and answer, in any later version."""
    shutil.copy(EXAMPLE, project.directory / "capital.jsonl")
    arguments = ("replay", "--automation", "capital.jsonl")
    done = project.massgen(*arguments, program="massgen-runner")
    assert_ended(done, ExitCode.SUCCESS, engine_view, project)
    assert done.said["QUESTION"] == "What is the capital of France?"
    assert done.said["WINNER"] == "agent_b"
    assert done.said["ANSWER_PREVIEW"] == "Paris is the capital of France."
    assert done.status.results.votes["agent2.1"] == 3
