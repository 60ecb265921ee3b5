"""Budgets of real runs: what is refused at the start, and how a run ends that has used its up."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.contract.status import AgentErrorType
from tests.support.massgen import Project, read_status
from tests.support.provider import FIRST, Hold, NewAnswer, Provider, Rule, Script, Tokens, Vote

PRICES = {"chatcompletion/*": {"input": 1, "output": 2, "max_output_tokens": 2000}}
pytestmark = pytest.mark.docker
USAGE = Tokens(1000, 500)
"""Costs 0.002 USD."""


def test_a_run_within_its_budget_shows_its_cost(provider: Provider, project: Project) -> None:
    """status.json has cost and budget, in all and by agent, and adds up to the ledger."""
    provider.play(
        Script(
            rules=(
                Rule((NewAnswer("Paris.", usage=USAGE),), step="answer"),
                Rule((Vote(FIRST, usage=USAGE),), step="vote"),
            )
        )
    )
    project.write_config(provider.url, runner={"prices": PRICES})

    done = project.answer("Where is the Louvre?", "--budget-usd", "1")

    assert done.exit_code == 0, done.stderr
    usage = done.status.usage
    assert usage.budget_usd == 1.0
    assert usage.cost_usd
    assert usage.cost_usd >= 4 * 0.002
    assert usage.open_calls == 0
    assert sum(u.cost_usd or 0 for u in usage.by_agent.values()) == pytest.approx(usage.cost_usd)
    (ledger,) = project.directory.glob(".massgen/runs/*/usage.jsonl")
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    settled = {line["call_id"]: line["cost_usd"] for line in lines if line["state"] == "settled"}
    assert sum(settled.values()) == pytest.approx(usage.cost_usd)
    assert "Warning" not in done.stderr


def test_a_run_that_has_used_up_its_budget_keeps_its_best_answer(
    provider: Provider, project: Project
) -> None:
    """It ends with 2 and the figures; the answer so far is in status.json and on disk."""
    provider.play(Script(rules=(Rule((NewAnswer("Paris, by the river.", usage=USAGE),)),)))
    budget = {"usd": 0.009}
    project.write_config(provider.url, runner={"prices": PRICES, "budget": budget})

    done = project.answer("Where is the Louvre?")

    assert done.exit_code == 2
    assert "of 0.0090 USD used" in done.stdout
    assert "best answer so far" in done.said["ERROR"]
    status = done.status
    assert status.meta.is_complete is False
    assert status.results.winner is None
    assert status.results.final_answer_preview == "Paris, by the river."
    assert {a.error.type for a in status.agents.values() if a.error} == {AgentErrorType.BUDGET}
    assert status.usage.cost_usd is not None
    assert status.usage.cost_usd <= 0.009
    assert list(done.log_dir.glob("agent_*/*/answer.txt"))


def test_people_are_warned_at_eighty_percent(provider: Provider, project: Project) -> None:
    """Once, on stderr and in the run's own log, before the budget is used up."""
    provider.play(Script(rules=(Rule((NewAnswer("Paris."),)),)))
    project.write_config(provider.url, runner={"budget": {"calls": 5}})

    done = project.answer("Where is the Louvre?")

    assert done.exit_code == 2
    warning = "80 % of the budget of this run is used: 4 calls of 5 calls"
    assert done.stderr.count("Warning: ") == 1
    assert f"Warning: {warning}\n" in done.stderr
    assert done.status.usage.budget_note == warning
    assert warning in done.log.system_status.read_text()
    assert "5 calls of 5 calls used" in done.said["ERROR"]


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"usd": 0}, "runner.budget.usd: 0 is out of range (allowed: over 0"),
        ({"usd": -1}, "runner.budget.usd: -1 is out of range"),
        ({"usd": float("nan")}, "runner.budget.usd: "),
        ({"usd": float("inf")}, "runner.budget.usd: "),
        ({"usd": "five"}, "runner.budget.usd: must be a number, not text"),
        ({"usd": 1e-9}, "runner.budget.usd: "),
        ({"tokens": 0}, "runner.budget.tokens: 0 is out of range"),
        ({"tokens": 1.5}, "runner.budget.tokens: must be a whole number"),
        ({"calls": -1}, "runner.budget.calls: -1 is out of range"),
        ({"per_agent": {"usd": "five"}}, "runner.budget.per_agent.usd: must be a number"),
        ({"usb": 5}, "did you mean 'usd'?"),
        (5, "runner.budget: must be a mapping"),
    ],
)
def test_a_budget_that_is_none_is_a_configuration_error(
    project: Project, budget: Any, said: str
) -> None:
    """Every value that cannot be meant is named with file, line and key, and nothing starts."""
    project.write_config("http://127.0.0.1:9/v1", runner={"budget": budget})
    done = project.answer()
    assert done.exit_code == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert project.run_ids() == []


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "five"])
def test_a_flag_that_is_no_budget_is_refused(project: Project, value: str) -> None:
    """So is one on the command line."""
    project.write_config("http://127.0.0.1:9/v1")
    done = project.answer("Why?", "--budget-usd", value)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "budget" in done.stderr


def test_a_model_without_a_price_is_named_with_the_remedy(project: Project) -> None:
    """A budget in USD for a model that nobody has priced starts nothing and says what to write."""
    project.write_config(
        "https://models.example.com/v1", agents=("agent_a",), backend={"api_key": "EMPTY"}
    )
    done = project.answer("Why?", "--budget-usd", "1")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "chatcompletion/model-agent_a has no known price" in done.stderr
    assert "runner.prices" in done.stderr
    assert project.run_ids() == []


@pytest.mark.parametrize("budget", [{"usd": 0.000001}, {"tokens": 10}])
def test_a_budget_smaller_than_one_call_is_said_before_anything_starts(
    project: Project, budget: dict[str, float]
) -> None:
    """Nobody waits for a container only to learn that the first word is too dear."""
    settings = {"prices": PRICES, "budget": budget}
    project.write_config("http://127.0.0.1:9/v1", runner=settings)
    done = project.answer()
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "too small for the first call of agents.0 (agent_a)" in done.stderr
    assert project.run_ids() == []


def shared_day(project: Project, standing: str) -> None:
    directory = project.home / ".config" / "massgen"
    directory.mkdir(parents=True)
    (directory / "budget.yaml").write_text(standing)


def test_the_users_standing_budget_holds_where_a_run_says_nothing(
    provider: Provider, project: Project
) -> None:
    """`per_run` is a default: the command line has the last word."""
    project.write_config(provider.url, runner={"prices": PRICES})
    shared_day(project, "per_run: {usd: 0.5}\n")

    assert project.answer().status.usage.budget_usd == 0.5
    assert project.answer("Why?", "--budget-usd", "0.75").status.usage.budget_usd == 0.75


def test_a_day_is_shared_by_its_runs_and_then_over(provider: Provider, project: Project) -> None:
    """Each run gets what is left of the day; when nothing is, none starts."""
    project.write_config(provider.url)
    shared_day(project, "per_day: {calls: 6}\n")

    first = project.answer()
    assert first.exit_code == 0, first.stderr
    used = first.status.usage.calls
    assert 0 < used <= 6
    while (done := project.answer()).stdout:
        assert done.exit_code == 2
        used += done.status.usage.calls

    assert done.exit_code == 1
    assert used == 6
    assert "today's budget is used up: 6 calls of 6 calls" in done.stderr


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        ("per_run: {usd: five}", "budget.yaml:1: per_run.usd: must be a number, not text"),
        ("per_day: {usd: 0}", "budget.yaml:1: per_day.usd: 0 is out of range"),
        ("per_dya: {usd: 1}", "budget.yaml:1: per_dya: is not a known key: did you mean"),
        ("[1]", "budget.yaml:1: is not a mapping"),
        ("per_run: {", "budget.yaml:"),
    ],
)
def test_a_standing_budget_that_is_none_is_a_configuration_error(
    project: Project, standing: str, said: str
) -> None:
    """Nobody runs without the limit they thought they had."""
    project.write_config("http://127.0.0.1:9/v1")
    shared_day(project, standing)
    done = project.answer()
    assert done.exit_code == 1
    assert said in done.stderr


def test_a_replay_takes_nothing_out_of_the_day(provider: Provider, project: Project) -> None:
    """What costs nothing goes on when the day's budget is used up."""
    project.write_config(provider.url, runner={"record": True})
    recorded = project.answer()
    assert recorded.exit_code == 0, recorded.stderr
    shared_day(project, "per_day: {calls: 1}\n")
    assert "1 call of 1 call used" in project.answer().stdout
    assert project.answer().exit_code == 1

    run_id = recorded.status.meta.run_id
    replayed = project.massgen("replay", run_id, program="massgen-runner")

    assert replayed.exit_code == 0, replayed.stderr


def test_a_killed_run_is_closed_with_what_it_may_have_spent(
    provider: Provider, project: Project
) -> None:
    """Whoever cleans up after kill -9 says which calls were under way, and counts them."""
    provider.play(Script(rules=(Rule((Hold("it", then=NewAnswer("Paris.")),)),)))
    project.write_config(
        provider.url, agents=("agent_a",), runner={"prices": PRICES, "budget": {"usd": 1}}
    )
    with project.ask() as running:
        provider.log.wait_for_requests(1)
        running.send(signal.SIGKILL)
        running.finish()
        log = running.wait_log_dir()

    cleaned = project.massgen("clean", program="massgen-runner")

    assert cleaned.exit_code == 0, cleaned.stderr
    usage = read_status(log.status).usage
    assert (usage.calls, usage.open_calls) == (1, 1)
    assert usage.cost_usd
    assert 0.004 < usage.cost_usd < 0.01


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "budgets.md"


def test_the_page_does_what_it_says(provider: Provider, project: Project) -> None:
    """Its configuration, its standing budget and its commands, as they are written."""
    page = PAGE.read_text("utf-8")
    own, standing = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    run, cost = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    shared_day(project, standing)
    runner = yaml.safe_load(own)["runner"]
    project.write_config(provider.url, "team.yaml", runner={"prices": PRICES} | runner)

    script = f'OUT=$({run}) && STATUS=$(grep ^STATUS: <<< "$OUT" | cut -c9-) && {cost}'
    with project.shell(script) as shell:
        done = shell.finish()

    assert done.exit_code == 0, done.stderr
    assert re.fullmatch(r"0\.0\d+ of 0\.5\n", done.stdout)
