"""What is measured, what is aimed at, and how measured values become a report. Runs on: host."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

PUBLISHED_FIRST_REQUEST_SECONDS = 5.0
PUBLISHED_WALL_SECONDS = 7.0
PUBLISHED_CPU_SECONDS = 7.5


class Key(StrEnum):
    """The measured values, by their names in the JSON report."""

    FIRST_LINES = "first_lines"
    FIRST_REQUEST = "first_request"
    IDLE_CONTAINER = "idle_container"
    RUN_WALL = "run_wall"
    RUN_CPU = "run_cpu"
    HOST_CPU = "host_cpu"
    CONTAINER_CPU = "container_cpu"
    IMPORT_CLICK = "import_click"
    HELP = "help"
    CONFIG_ERROR = "config_error"
    STREAM_RATE = "stream_rate"
    STREAM_HOST_CPU = "stream_host_cpu_per_token"
    STREAM_CONTAINER_CPU = "stream_container_cpu_per_token"
    SERVER_RATE = "server_rate"
    SILENT_CPU = "silent_cpu"
    SPEAKING_CPU = "speaking_cpu"


class PeerKey(StrEnum):
    """The values measured of MassGen itself."""

    FIRST_REQUEST = "first_request"
    RUN_WALL = "run_wall"
    RUN_CPU = "run_cpu"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Spread(_Frozen):
    """Values of one figure, one for each round, in the order measured."""

    values: tuple[float, ...]
    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(
            values=tuple(values),
            median=statistics.median(values),
            min=min(values),
            max=max(values),
        )


class Row(_Frozen):
    """One line of the report."""

    key: Key
    title: str
    unit: str
    spread: Spread
    aim: float | None = None
    """The bound in the figure's unit; None where the figure has no aim of its own."""
    aim_says: str = ""
    at_least: bool = False
    """The aim is a lower bound."""
    baseline: Spread | None = None
    """The same of another checkout, measured in alternation."""

    @property
    def missed_by(self) -> float:
        """How far the median is on the wrong side of the aim, in the figure's unit; 0: met."""
        if self.aim is None:
            return 0.0
        distance = self.spread.median - self.aim
        return max(0.0, -distance if self.at_least else distance)


class PeerRow(_Frozen):
    """One figure of MassGen itself; `published` is what was measured of it at another time."""

    key: PeerKey
    title: str
    published: str
    spread: Spread | None = None
    ratio: float | None = None
    """How many times ours it is; medians, or the published value where it was not measured."""


class Machine(_Frozen):
    """Where the figures were measured."""

    cpus: int
    load_before: float
    """Load average over one minute: how much else went on."""
    kernel: str
    python: str
    engine: str
    image: str


class Report(_Frozen):
    """All of one `bench/run`, as its JSON file has it."""

    schema_version: int = 1
    made_at: str
    rounds: int
    quick: bool
    machine: Machine
    rows: tuple[Row, ...]
    peer_version: str | None
    """MassGen's version; None where it is not installed."""
    peer: tuple[PeerRow, ...]


Samples = dict[Key, list[float]]
PeerSamples = dict[PeerKey, list[float]]


class _Aim(NamedTuple):
    says: str
    bound: Callable[[Mapping[Key, float], Mapping[PeerKey, float]], float]
    """From the medians of this and of MassGen's figures."""
    at_least: bool = False


def _fixed(bound: float, says: str, *, at_least: bool = False) -> _Aim:
    return _Aim(says, lambda _ours, _peer: bound, at_least)


_FIGURES: tuple[tuple[Key, str, str, _Aim | None], ...] = (
    (Key.FIRST_LINES, "command to the four first lines", "s", _fixed(0.5, "< 0.5 s")),
    (
        Key.FIRST_REQUEST,
        "command to the first model request",
        "s",
        _Aim(
            "< 1.2 s and 1/4 of MassGen's",
            lambda _, peer: min(1.2, peer[PeerKey.FIRST_REQUEST] / 4),
        ),
    ),
    (Key.IDLE_CONTAINER, "idle container: create, start, wait, remove", "s", None),
    (
        Key.RUN_WALL,
        "whole run, two agents",
        "s",
        _Aim("<= 2 x idle container + 1.2 s", lambda ours, _: 2 * ours[Key.IDLE_CONTAINER] + 1.2),
    ),
    (
        Key.RUN_CPU,
        "processor time of a run, host and container",
        "s",
        _Aim("<= 1/4 of MassGen's", lambda _, peer: peer[PeerKey.RUN_CPU] / 4),
    ),
    (Key.HOST_CPU, "  of it: host", "s", None),
    (Key.CONTAINER_CPU, "  of it: container", "s", None),
    (Key.IMPORT_CLICK, 'python -c "import click"', "s", None),
    (
        Key.HELP,
        "massgen --help",
        "s",
        _Aim("<= 3 x import click", lambda ours, _: 3 * ours[Key.IMPORT_CLICK]),
    ),
    (Key.CONFIG_ERROR, "a configuration error", "s", _fixed(0.4, "< 0.4 s")),
    (
        Key.STREAM_RATE,
        "streaming, two agents, one event a token",
        "tokens/s",
        _fixed(5000, ">= 5,000 tokens/s", at_least=True),
    ),
    (Key.SERVER_RATE, "  the test server alone, read directly", "tokens/s", None),
    (Key.STREAM_HOST_CPU, "  processor time per token: host", "us", None),
    (Key.STREAM_CONTAINER_CPU, "  processor time per token: container", "us", None),
    (
        Key.SILENT_CPU,
        "keeping status.json, model silent",
        "% of a CPU",
        _fixed(1.0, "<= 1 %"),
    ),
    (Key.SPEAKING_CPU, "  the same, model slow: 2 x 20 tokens/s", "% of a CPU", None),
)

_PEER_FIGURES: tuple[tuple[PeerKey, Key, str, str, float], ...] = (
    (
        PeerKey.FIRST_REQUEST,
        Key.FIRST_REQUEST,
        "command to the first model request",
        "5.0-5.5 s",
        PUBLISHED_FIRST_REQUEST_SECONDS,
    ),
    (PeerKey.RUN_WALL, Key.RUN_WALL, "whole run, two agents", "7-8 s", PUBLISHED_WALL_SECONDS),
    (PeerKey.RUN_CPU, Key.RUN_CPU, "processor time of a run", "7.5 s", PUBLISHED_CPU_SECONDS),
)


def rows(samples: Samples, peer: PeerSamples, baseline: Samples) -> tuple[Row, ...]:
    """Return a line for each figure that was measured, with its aim."""
    medians = {key: statistics.median(values) for key, values in samples.items()}
    peer_medians = _peer_medians(peer)
    return tuple(
        Row(
            key=key,
            title=title,
            unit=unit,
            spread=Spread.of(samples[key]),
            aim=aim.bound(medians, peer_medians) if aim else None,
            aim_says=aim.says if aim else "",
            at_least=aim.at_least if aim else False,
            baseline=Spread.of(baseline[key]) if key in baseline else None,
        )
        for key, title, unit, aim in _FIGURES
        if key in samples
    )


def peer_rows(samples: Samples, peer: PeerSamples) -> tuple[PeerRow, ...]:
    """Return MassGen's figures, measured or published, in multiples of ours."""
    theirs = _peer_medians(peer)
    return tuple(
        PeerRow(
            key=key,
            title=title,
            published=published,
            spread=Spread.of(peer[key]) if key in peer else None,
            ratio=theirs[key] / statistics.median(samples[ours]) if ours in samples else None,
        )
        for key, ours, title, published, _ in _PEER_FIGURES
    )


def _peer_medians(peer: PeerSamples) -> dict[PeerKey, float]:
    return {
        key: statistics.median(peer[key]) if key in peer else constant
        for key, _, _, _, constant in _PEER_FIGURES
    }
