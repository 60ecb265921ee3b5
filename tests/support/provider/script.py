"""Which reply a request gets: rules, tried in order. Runs on: host."""

import fnmatch
from collections import Counter
from pathlib import Path

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from tests.support.provider.replies import FOREVER, Cooperate, Hold, NewAnswer, Reply, Status
from tests.support.provider.request import ModelRequest, Step

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Rule:
    """Replies, one after the other, for the requests that fit all of what is given."""

    replies: tuple[Reply, ...]
    model: str | None = None
    """A model's name; `*` and `?` stand for anything."""
    agent: str | None = None
    """The agent in the path, where the provider is spoken to as the run socket is."""
    contains: str | None = None
    """A text that stands in the prompt."""
    step: Step | None = None
    last_repeats: bool = True
    """After the last reply: give it again; otherwise the next rules decide."""

    def fits(self, request: ModelRequest) -> bool:
        return (
            (self.model is None or fnmatch.fnmatchcase(request.model, self.model))
            and (self.agent is None or self.agent == request.agent)
            and (self.step is None or self.step == request.step)
            and (self.contains is None or self.contains in request.text)
        )

    def reply(self, turn: int) -> Reply | None:
        """Return the reply for the `turn`-th fitting request, counted from 0."""
        for reply in self.replies:
            turn -= _times(reply)
            if turn < 0:
                return reply
        return self.replies[-1] if self.last_repeats else None


@dataclass(frozen=True, config=_STRICT)
class Script:
    """Rules, tried in order; a request that none fits is answered by a well-behaved model."""

    rules: tuple[Rule, ...] = ()
    models: tuple[str, ...] = ("test-model",)
    """What `GET /v1/models` lists; requests may name others."""
    known_models_only: bool = False
    """Answer 404 to a model that is not listed."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with every response."""

    @classmethod
    def always(cls, *replies: Reply, **fits: str) -> "Script":
        """Return the script of one rule; `fits` are the rule's model, agent, contains, step."""
        return cls(rules=(Rule(replies, **fits),))  # type: ignore[arg-type]  # checked at run time

    @classmethod
    def from_json(cls, data: str | bytes) -> "Script":
        """Return the script written in JSON; pydantic.ValidationError says what is wrong."""
        return _SCRIPT.validate_json(data)

    @classmethod
    def from_file(cls, path: Path) -> "Script":
        return cls.from_json(path.read_bytes())


_SCRIPT = TypeAdapter(Script)


class Prompter:
    """Goes through a script, keeping count. Not safe between threads: it lives on one loop."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._turns: Counter[int] = Counter()
        self._pending: dict[str, Reply] = {}

    def next(self, request: ModelRequest) -> tuple[Reply, int | None]:
        """Return the reply to `request`, counted, and the number of the rule that gave it."""
        if request.model in self._pending:
            return self._pending.pop(request.model), None
        for number, rule in enumerate(self.script.rules):
            if rule.fits(request):
                reply = rule.reply(self._turns[number])
                self._turns[number] += 1
                if reply is not None:
                    return reply, number
        return Cooperate(), None

    def not_delivered(self, reply: Reply, request: ModelRequest, rule: int | None) -> None:
        """Keep a reply that needs one more request: a new answer of which only the choice went."""
        if isinstance(reply, NewAnswer):
            self._pending[request.model] = reply
        elif rule is not None:
            self._turns[rule] -= 1


def _times(reply: Reply) -> int:
    if isinstance(reply, Hold):
        return _times(reply.then)
    return reply.times if isinstance(reply, Status) else 1


def forever(status: int, **headers: str) -> Status:
    """Return an error that never ends; `Retry_After="1"` is a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Status(status, headers=named, times=FOREVER)
