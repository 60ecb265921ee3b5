"""Record docs/images/run.svg: a real run against a scripted provider. Runs on: host.

`python docs/record.py` needs a container engine. Every picture is drawn from a status.json of that
run by the live display's own code; only the working directory's name is replaced by a shorter one.
"""

import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from runner.config.load import load_config  # noqa: E402 - found through the line above
from runner.contract.log_layout import LogLayout  # noqa: E402
from runner.contract.status import Status  # noqa: E402
from runner.host.launch import run  # noqa: E402
from runner.host.observer import FinishedRun  # noqa: E402
from runner.host.run_request import RunRequest  # noqa: E402
from runner.report.display import PlainDisplay  # noqa: E402
from runner.report.picture import Look, picture  # noqa: E402
from tests.support.provider import NewAnswer, Provider, Rule, Script, Vote  # noqa: E402
from tests.support.provider import Text as Said  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "run.svg"
QUESTION = "Which of quicksort, merge sort and heapsort keep equal items in order?"
COLUMNS = 96
MAX_FRAMES = 9
LAST_FRAME_SECONDS = 6.0
SHOWN_DIRECTORY = "/home/you"
CONFIG = """\
agents:
  - id: planner
    backend: {{type: chatcompletion, base_url: "{url}", model: model-a}}
  - id: critic
    backend: {{type: chatcompletion, base_url: "{url}", model: model-b}}
  - id: writer
    backend: {{type: chatcompletion, base_url: "{url}", model: model-c}}
"""
FIRST = "Merge sort keeps equal items in order. " * 3
BETTER = "Only merge sort is stable: it takes from the left half first. " * 4
FINAL = """\
Only merge sort. When two items are equal, it takes the one from the left half first.
Quicksort and heapsort swap items over long distances, and so lose their order."""
# The template of rich without its fonts, which it loads from elsewhere.
FRAME = """\
<g class="{unique_id}">
<style>.{unique_id}-matrix {{ {FONT} font-size: {char_height}px; line-height: {line_height}px;
 font-variant-east-asian: full-width; }}
{styles}</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" \
height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</g>
<!-- {width} {height} -->""".replace(
    "{FONT}", "font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace;"
)


class Moment(NamedTuple):
    """What was known at one time of the run."""

    seconds: float
    status: Status


class Recorder:
    """An observer that keeps every status with its time."""

    wants_progress = True

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.run_id = ""
        self.log: LogLayout | None = None
        self._began = time.monotonic()

    def announced(self, run_id: str, log: LogLayout, question: str) -> None:  # noqa: ARG002
        self.run_id, self.log = run_id, log
        self._began = time.monotonic()

    def noticed(self, message: str) -> None:
        sys.stderr.write(f"{message}\n")

    def progressed(self, status: Status) -> None:
        self.moments.append(Moment(time.monotonic() - self._began, status))

    def ended(self, run: FinishedRun) -> None:
        self.progressed(run.status)


def script() -> Script:
    """Return a run in which the critic improves on the planner's answer."""
    slow = 0.12
    return Script(
        rules=(
            Rule(
                (NewAnswer(FIRST, tokens_per_chunk=3, delay_seconds_per_chunk=slow),),
                "model-a",
                step="answer",
            ),
            Rule((Vote("agent2", delay_seconds_per_chunk=slow * 2),), "model-a", step="vote"),
            Rule(
                (
                    NewAnswer(BETTER, tokens_per_chunk=3, delay_seconds_per_chunk=slow),
                    Vote("agent2", delay_seconds_per_chunk=slow * 3),
                ),
                "model-b",
                step="vote",
            ),
            Rule(
                (
                    Vote("agent1", delay_seconds_per_chunk=slow),
                    Vote("agent2", delay_seconds_per_chunk=slow),
                ),
                "model-c",
                step="vote",
            ),
            Rule(
                (NewAnswer(FIRST, tokens_per_chunk=1, delay_seconds_per_chunk=slow),), step="answer"
            ),
            Rule((Said(FINAL, tokens_per_chunk=4, delay_seconds_per_chunk=slow / 2),), step="text"),
        )
    )


def recorded(directory: Path) -> tuple[Recorder, FinishedRun]:
    """Carry the run out in `directory`."""
    recorder = Recorder()
    with Provider(script()) as provider:
        (directory / "team.yaml").write_text(CONFIG.format(url=provider.url))
        config = load_config("team.yaml", [], cwd=directory)
        return recorder, run(RunRequest(config, QUESTION, directory, os.environ), recorder)


def thinned(moments: list[Moment]) -> list[Moment]:
    """Return moments in which something can be seen to change, the last one included."""
    seen: dict[str, Moment] = {}
    for moment in moments:
        agents = {
            name: (agent.status, agent.latest_answer_label)
            for name, agent in moment.status.agents.items()
        }
        seen.setdefault(f"{moment.status.coordination.phase} {agents}", moment)
    kept = [*seen.values()][:-1]
    step = max(1, -(-len(kept) // (MAX_FRAMES - 1)))
    return [*kept[::step], moments[-1]]


def frame(moment: Moment, recorder: Recorder, end: str, *, lines: int) -> Console:
    """Return a console that holds the terminal at one moment."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "green"), f'massgen --config team.yaml "{QUESTION}"'))
    console.print(f"Run {recorder.run_id}", style="bold", highlight=False)
    console.print(f"Log {recorder.log.root if recorder.log else ''}", style="dim", highlight=False)
    console.print(picture(moment.status, QUESTION, moment.seconds, Look(COLUMNS)))
    if end:
        console.print(end, markup=False, highlight=False)
    shown = console.export_text(clear=False).count("\n")
    console.print("\n" * max(0, lines - shown - 1))
    return console


def animated(frames: list[tuple[float, str]]) -> str:
    """Return one picture that shows frames, pairs of a start time and drawing, in turn."""
    total = frames[-1][0] + LAST_FRAME_SECONDS
    starts = [100 * start / total for start, _ in frames]
    rules = [
        _shown_between(number, begin, end, total)
        for number, (begin, end) in enumerate(zip(starts, [*starts[1:], None], strict=True))
    ]
    found = re.search(r"<!-- (\S+) (\S+) -->", frames[0][1])
    assert found is not None  # noqa: S101 - FRAME ends with it
    body = "\n".join(drawing for _, drawing in frames)
    return (
        f'<svg viewBox="0 0 {found[1]} {found[2]}"'
        ' xmlns="http://www.w3.org/2000/svg" xml:space="preserve">\n'
        f"<style>{chr(10).join(rules)}</style>\n{body}\n</svg>\n"
    )


def _shown_between(number: int, begin: float, end: float | None, total_seconds: float) -> str:
    """Return the rules of one frame; the last one is also what a still picture shows."""
    before = "0% { opacity: 0 } " if begin else ""
    after = "100% { opacity: 1 }" if end is None else f"{end:.2f}% {{ opacity: 0 }}"
    still = 1 if end is None else 0
    return (
        f"@keyframes show{number} {{ {before}{begin:.2f}% {{ opacity: 1 }} {after} }}\n"
        f".frame{number} {{ opacity: {still};"
        f" animation: show{number} {total_seconds:.1f}s step-end infinite }}"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        recorder, finished = recorded(Path(name))
        out, err = io.StringIO(), io.StringIO()
        PlainDisplay(progress=False, stdout=out, stderr=err).ended(finished)
        end = "\n" + out.getvalue() + err.getvalue().rstrip()
        moments = thinned(recorder.moments)
        begin = moments[0].seconds
        height = 0
        drawings: list[tuple[float, str]] = []
        for number, moment in reversed(list(enumerate(moments))):
            is_last = number == len(moments) - 1
            console = frame(moment, recorder, end if is_last else "", lines=height)
            height = height or console.export_text(clear=False).count("\n")
            svg = console.export_svg(title="massgen", code_format=FRAME, unique_id=f"frame{number}")
            drawings.insert(0, (moment.seconds - begin, svg.replace(name, SHOWN_DIRECTORY)))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(animated(drawings))
    sys.stdout.write(f"{PICTURE}: {len(drawings)} moments of run {recorder.run_id}\n")


if __name__ == "__main__":
    main()
