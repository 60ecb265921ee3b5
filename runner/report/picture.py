"""The picture of a running run that the live display draws. Runs on: host."""

from typing import TYPE_CHECKING, NamedTuple

from runner.contract.status import AgentStatus, Phase, Status
from runner.contract.text import one_line
from runner.report.words import error_words, phase_words, tool_words, usage_words, vote_words

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

_COLUMNS = (
    # heading, widest content, from which terminal width on it is shown
    ("state", 10, 0),
    ("answer", 12, 0),
    ("votes", 5, 56),
    ("voted for", 9, 56),
    ("restarts", 8, 80),
    ("tokens", 7, 80),
)
_NUMBERS = frozenset({"votes", "restarts", "tokens"})
_GAP = 2
_AGENT_CHARS = (8, 24)
"""The agent's column takes what the others leave, between these."""
_ALL_PHASES_COLUMNS = 64
_QUESTION_LINES = 3
_FRAMES_A_SECOND = 10


class Marks(NamedTuple):
    """Characters that stand before agents and phases."""

    spinner: str
    of_status: dict[AgentStatus, str]
    winner: str
    phase_done: str
    phase_now: str
    phase_later: str
    arrow: str
    more: str


FANCY = Marks(
    spinner="⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏",
    of_status={
        AgentStatus.WAITING: "·",
        AgentStatus.ANSWERED: "●",
        AgentStatus.VOTED: "✓",
        AgentStatus.RESTARTING: "↻",
        AgentStatus.COMPLETED: "✓",
        AgentStatus.ERROR: "✗",
        AgentStatus.TIMEOUT: "✗",
    },
    winner="★",
    phase_done="●",
    phase_now="●",
    phase_later="○",
    arrow="→",
    more="…",
)
PLAIN = Marks(
    spinner="|/-\\",
    of_status={
        AgentStatus.WAITING: ".",
        AgentStatus.ANSWERED: "o",
        AgentStatus.VOTED: "+",
        AgentStatus.RESTARTING: "~",
        AgentStatus.COMPLETED: "+",
        AgentStatus.ERROR: "x",
        AgentStatus.TIMEOUT: "x",
    },
    winner="*",
    phase_done="+",
    phase_now=">",
    phase_later=".",
    arrow="-",
    more="...",
)
_STYLES = {
    AgentStatus.WAITING: "dim",
    AgentStatus.STREAMING: "cyan",
    AgentStatus.ANSWERED: "green",
    AgentStatus.VOTED: "blue",
    AgentStatus.RESTARTING: "yellow",
    AgentStatus.COMPLETED: "green",
    AgentStatus.ERROR: "bold red",
    AgentStatus.TIMEOUT: "bold red",
}


class Look(NamedTuple):
    """What a terminal can show."""

    width: int = 100
    ascii_only: bool = False

    @property
    def marks(self) -> Marks:
        return PLAIN if self.ascii_only else FANCY

    @property
    def columns(self) -> list[tuple[str, int]]:
        """Headings and widths of the columns that there is room for, the agent's first."""
        rest = [(heading, width) for heading, width, least in _COLUMNS if self.width >= least]
        taken = sum(width + _GAP for _, width in rest)
        least, most = _AGENT_CHARS
        return [("agent", max(least, min(most, self.width - taken - _GAP))), *rest]

    def shown(self, text: str, limit: int | None = None) -> str:
        """Return one safe line of `text` in characters that the terminal has."""
        line = one_line(text)
        if self.ascii_only:
            line = line.encode("ascii", "replace").decode()
        if limit is None or len(line) <= limit:
            return line
        return line[: limit - len(self.marks.more)] + self.marks.more

    def name(self, text: str, limit: int) -> str:
        """Return one safe line of `text`, shortened in the middle: long ids differ at their end."""
        line = self.shown(text)
        if len(line) <= limit:
            return line
        kept = limit - len(self.marks.more)
        return line[: kept - kept // 2] + self.marks.more + line[-(kept // 2) :]


def picture(
    status: Status | None, question: str, elapsed_seconds: float, look: Look | None = None
) -> "RenderableType":
    """Return what is shown of a status: question, phases, agents, errors and totals."""
    from rich.console import Group
    from rich.text import Text

    look = look or Look()
    head = Text(look.shown(question, look.width * _QUESTION_LINES), style="italic")
    spinner = _spinner(look, elapsed_seconds)
    if status is None:
        starting = Text.assemble(
            (f"{spinner} ", "cyan"), (f"starting the container  {elapsed_seconds:.1f}s", "dim")
        )
        return Group(head, Text(), starting)
    return Group(
        head,
        Text(),
        _phases(status, elapsed_seconds, look),
        _agents(status, spinner, look),
        *_tools(status, look),
        *_errors(status, look),
        Text(usage_words(status), style="dim", no_wrap=True, overflow="crop"),
    )


def _spinner(look: Look, elapsed_seconds: float) -> str:
    frames = look.marks.spinner
    return frames[int(elapsed_seconds * _FRAMES_A_SECOND) % len(frames)]


def _phases(status: Status, elapsed_seconds: float, look: Look) -> "Text":
    """Return the three phases in a row, the present one bright, then completion and time."""
    from rich.text import Text

    text = Text(no_wrap=True, overflow="crop")
    order = list(Phase)
    now = order.index(status.coordination.phase)
    reached = len(order) if status.meta.is_complete else now
    for place, phase in enumerate(order):
        if look.width < _ALL_PHASES_COLUMNS and place != now:
            continue
        mark, style = _phase_look(place, reached, look)
        text.append(f" {look.marks.arrow} " if text else "", style="dim")
        text.append(f"{mark} {phase_words(phase.value)}", style=style)
    text.append(f"  {status.coordination.completion_percentage}%", style="bold")
    ended = status.meta.outcome is not None
    seconds = status.meta.elapsed_seconds if ended else elapsed_seconds
    text.append(f"  {seconds:.1f}s")
    return text


def _phase_look(place: int, now: int, look: Look) -> tuple[str, str]:
    if place < now:
        return look.marks.phase_done, "green"
    if place == now:
        return look.marks.phase_now, "bold cyan"
    return look.marks.phase_later, "dim"


def _agents(status: Status, spinner: str, look: Look) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for heading, width in look.columns:
        table.add_column(
            f"  {heading}" if heading == "agent" else heading,
            justify="right" if heading in _NUMBERS else "left",
            no_wrap=True,
            overflow="crop",
            max_width=width,
        )
    for place, name in enumerate(status.agents, 1):
        cells = _row(status, place, name, spinner, look)
        table.add_row(*(cells[heading] for heading, _ in look.columns))
    return table


def _row(status: Status, place: int, name: str, spinner: str, look: Look) -> "dict[str, Text]":
    """Return the cells of an agent's row by their headings."""
    from rich.text import Text

    agent = status.agents[name]
    won = status.results.winner == name
    style = "bold green" if won else _STYLES[agent.status]
    mark = look.marks.winner if won else look.marks.of_status.get(agent.status, spinner)
    shown_name = look.name(name, look.columns[0][1] - _GAP)
    usage = status.usage.by_agent.get(name)
    return {
        "agent": Text.assemble((f"{mark} ", style), (shown_name, "bold" if won else "")),
        "state": Text("winner" if won else agent.status.value, style=style),
        "answer": Text(look.shown(agent.latest_answer_label or "-")),
        "votes": Text(str(_votes_for(status, place)) if agent.answer_count else "-"),
        "voted for": Text(look.shown(vote_words(agent))),
        "restarts": Text(str(agent.times_restarted)),
        "tokens": Text(str(usage.output_tokens) if usage else "-"),
    }


def _votes_for(status: Status, place: int) -> int:
    """Return the votes for the agent at `place` in the configuration, counted from 1."""
    votes = status.results.votes.items()
    return sum(count for label, count in votes if label.startswith(f"agent{place}."))


def _tools(status: Status, look: Look) -> "list[Text]":
    """Return a line for each agent that is using a tool."""
    return [
        _line(f"{name}: {tool_words(agent, status.meta.last_updated)}", "dim", look)
        for name, agent in status.agents.items()
        if agent.tool is not None
    ]


def _errors(status: Status, look: Look) -> "list[Text]":
    return [
        _line(f"{name}: {error_words(agent)}", "red", look)
        for name, agent in status.agents.items()
        if agent.error is not None
    ]


def _line(text: str, style: str, look: Look) -> "Text":
    """Return one line that is cut where the terminal ends."""
    from rich.text import Text

    return Text(look.shown(text, look.width), style=style, no_wrap=True, overflow="crop")
