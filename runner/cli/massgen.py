"""The `massgen` command: one question, several agents, one container. Runs on: host."""

import click

from runner.cli.version import version_option

_EPILOG = """\b
Examples:
  massgen --automation --config team.yaml "Design a REST API for a to-do list"
  massgen --config @examples/basic/multi/local_two_agents.yaml "Why is the sky blue?"
  massgen --model gpt-5-mini "What is the capital of France?"
  echo "A long question" | massgen --automation --config team.yaml -
  massgen --validate team.yaml --strict

\b
Exit codes:
  0 success   1 configuration   2 execution   3 timeout   4 interrupted
"""


@click.command("massgen", epilog=_EPILOG)
@click.argument("question", required=False)
@click.option("--config", "config", metavar="FILE", help="YAML or JSON file, or @examples/NAME.")
@click.option("--automation", is_flag=True, help="About ten lines on stdout, for scripts.")
@click.option("--model", metavar="NAME", help="A single agent with this model, without a file.")
@click.option("--backend", metavar="TYPE", help="The provider of --model, e.g. openai.")
@click.option("--system-message", metavar="TEXT", help="System message of the --model agent.")
@click.option("--orchestrator-timeout", type=float, metavar="SECONDS", help="Time for the run.")
@click.option("--budget-usd", type=float, metavar="USD", help="The most that the run may cost.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option(
    "--validate",
    "validated",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[FILE]",
    help="Only check the configuration; needs no engine.",
)
@click.option("--strict", is_flag=True, help="With --validate: warnings are errors.")
@click.option("--json", "as_json", is_flag=True, help="With --validate: the result as JSON.")
@click.option("--list-examples", is_flag=True, help="List the packaged configurations.")
@click.option("--no-display", is_flag=True, help="No live display, only the answer.")
@click.option("--no-logs", is_flag=True, help="Keep no log directory (never with --automation).")
@click.option("--record", is_flag=True, help="Keep the model calls, for massgen-runner replay.")
@click.option("--cache", is_flag=True, help="Pay for identical model calls once only.")
@click.option("--keep-container", is_flag=True, help="Leave the container for debugging.")
@click.option("--debug", is_flag=True, help="Tracebacks, and a detailed massgen.log.")
@version_option
def massgen(**options: object) -> int:
    """Let several agents answer QUESTION in a container of their own; `-` reads it from stdin."""
    from runner.cli.run import Options, massgen_run

    return massgen_run(Options.model_validate(options))
