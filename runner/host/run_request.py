"""What somebody wants to have run, and a run under way. Runs on: host."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runner.config.child_environment import without_keys
from runner.config.load import LoadedConfig
from runner.contract.spec import RunSpec
from runner.gateway.redaction import Redactor
from runner.host.acting_agents import ActingAgent
from runner.host.engine import Engine, EngineInfo
from runner.host.money import Money
from runner.host.observer import RunObserver
from runner.host.pacing import Pacing
from runner.host.reach import Reach
from runner.host.run_spec import AgentRoute
from runner.host.run_store import NewRun
from runner.host.tape import Replay

if TYPE_CHECKING:
    pass


class RunRequest(NamedTuple):
    """What somebody wants to have run."""

    config: LoadedConfig
    question: str
    cwd: Path
    environ: Mapping[str, str]
    """Where credentials are looked for; programs that the run starts get it without them."""
    cli_args: Sequence[str] = ()
    keep_container: bool = False
    keep_log: bool = True
    debug: bool = False
    replay: Replay | None = None
    """The cassette that answers instead of the providers."""
    ends_process: bool = False
    """Nothing but the exit follows in this process: signals stay ignored after the run's end."""
    redactor: Redactor | None = None
    """Learns the credentials that the run loads."""

    @property
    def children_environ(self) -> Mapping[str, str]:
        return without_keys(self.environ, self.config.config.key_variables)


class ReadyEngine(NamedTuple):
    """An engine that answers, and what it is."""

    engine: Engine
    info: EngineInfo
    has_image: bool


class CurrentRun(NamedTuple):
    """A run between its announcement and its end."""

    request: RunRequest
    new: NewRun
    spec: RunSpec
    ready: ReadyEngine
    image: str
    routes: Sequence[AgentRoute]
    money: Money
    pacing: Pacing
    acting: Mapping[str, ActingAgent]
    reach: Reach
    redact: Redactor
    observer: RunObserver
