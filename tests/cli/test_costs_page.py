"""The page on costs, tried out: every command on it is run, in its order."""

import re
from pathlib import Path

from tests.support.ledgers import call, make_run
from tests.support.massgen import Project

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "costs.md"


def test_every_command_of_the_page(tmp_path: Path) -> None:
    """All commands succeed in a directory with a run, and show what the page says."""
    project = Project(tmp_path)
    project.write_config("http://127.0.0.1:1/v1", "team.yaml")
    run = make_run(project.directory, call(1, 0.25), call(2, 0.5, agent_id="agent_b"))
    commands = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    script = "".join(c for c in commands if c != "massgen-runner status\n")
    assert script.count("massgen-runner ") == 8
    with project.shell(f"set -e\n{script}", env={"RUN": run.run_id}) as running:
        done = running.finish()
    assert done.exit_code == 0, done.stderr
    assert "openai/gpt-5-mini\n  input " in done.stdout
    assert "openai/my-fine-tune\n  input 3, output 12" in done.stdout
    assert "  0.2500        1          100           10  agent_a" in done.stdout
    csv = (project.directory / "costs.csv").read_text()
    assert csv.splitlines()[1].startswith("openai/gpt-5-mini,0.75,0,2,200,20,")
