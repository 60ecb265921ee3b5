"""What a real run has cost, as its reports show it."""

import csv
import json
from decimal import Decimal

import pytest

from runner.host.run_store import store_in
from tests.support.ledgers import lines_of
from tests.support.massgen import Project
from tests.support.provider import FIRST, NewAnswer, Provider, Rule, Script, Tokens, Vote

pytestmark = pytest.mark.docker
PRICES = {"chatcompletion/*": {"input": 1.25, "output": 10.000001}}


def test_reports_add_up_to_the_ledger(provider: Provider, project: Project) -> None:
    """The command, the status and the ledger of a run have one sum, to the last digit."""
    usage = Tokens(1001, 503)
    answer = Rule((NewAnswer("Paris.", usage=usage),), step="answer")
    provider.play(Script(rules=(answer, Rule((Vote(FIRST, usage=usage),), step="vote"))))
    project.write_config(provider.url, runner={"prices": PRICES})

    done = project.answer("Where is the Louvre?", "--budget-usd", "2")

    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("COMPLETED: 2 agents, ")
    (run_id,) = project.run_ids()
    lines = lines_of(store_in(project.directory).find(run_id))
    settled = [Decimal(str(line["cost_usd"])) for line in lines if line["state"] == "settled"]
    exact = sum(settled)
    assert exact > 0
    assert Decimal(str(done.status.usage.cost_usd)) == exact
    for by in ("run", "model", "agent", "day", "config"):
        told = project.massgen("cost", "--by", by, "--json", program="massgen-runner")
        assert Decimal(str(json.loads(told.stdout)["total"]["cost_usd"])) == exact
    told = project.massgen("cost", "--by", "agent", "--csv", program="massgen-runner")
    rows = list(csv.DictReader(told.stdout.splitlines()))
    by_agent = {name: u.cost_usd for name, u in done.status.usage.by_agent.items()}
    assert {row["agent"]: float(row["cost_usd"]) for row in rows} == by_agent
    status = project.massgen("status", program="massgen-runner").stdout.splitlines()[0]
    assert f"{exact:.4f} of 2.0000 USD, {2 - exact:.4f} left" in status
