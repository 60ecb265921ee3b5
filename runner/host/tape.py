"""What stands between a run and its providers when it is recorded or replayed. Runs on: host."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runner import __version__
from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.text import one_line

if TYPE_CHECKING:
    from runner.gateway.cassette import Cassette
    from runner.gateway.recording import CassetteWriter
    from runner.gateway.replaying import Replaying, ReplaySettings
    from runner.gateway.routes import Route
    from runner.gateway.upstream import ModelCalls, RetryPolicy


class Replay(NamedTuple):
    """A cassette that answers a run's model calls."""

    cassette: "Cassette"
    settings: "ReplaySettings"


class Tape:
    """Records a run, replays it, or both, or neither."""

    def __init__(
        self,
        *,
        record_to: Path | None,
        question: str,
        config: Mapping[str, Any],
        replay: Replay | None,
        noticed: Callable[[str], None],
    ) -> None:
        self._record_to = record_to
        self._question = question
        self._config = config
        self._replay = replay
        self._noticed = noticed
        self._replaying: Replaying | None = None
        self._writer: CassetteWriter | None = None

    def upstream(
        self, routes: Sequence["Route"], retry: "RetryPolicy", stall_timeout_seconds: float
    ) -> "ModelCalls | None":
        """Return what the gateway is to ask; None: the providers, as always."""
        upstream: ModelCalls | None = None
        if self._replay is not None:
            from runner.gateway.replaying import Replaying

            upstream = self._replaying = Replaying(
                self._replay.cassette, self._replay.settings, self._noticed
            )
        if self._record_to is not None:
            upstream = self._recording(
                self._record_to, upstream, routes, retry, stall_timeout_seconds
            )
        return upstream

    def _recording(
        self,
        path: Path,
        upstream: "ModelCalls | None",
        routes: Sequence["Route"],
        retry: "RetryPolicy",
        stall_timeout_seconds: float,
    ) -> "ModelCalls":
        from runner.gateway.cassette import Header
        from runner.gateway.recording import CassetteWriter, Recording
        from runner.gateway.redaction import Redactor
        from runner.gateway.upstream import Upstream

        redact = Redactor(route.credential.reveal() for route in routes if route.credential)
        header = Header(
            recorded_by=f"massgen-runner {__version__}",
            question=self._question,
            config=dict(self._config),
        )
        self._writer = CassetteWriter(path, header, redact)
        if upstream is None:
            upstream = Upstream(
                retry=retry, stall_timeout_seconds=stall_timeout_seconds, redact=redact
            )
        return Recording(upstream, self._writer)

    def judged(self, outcome: RunOutcome) -> RunOutcome:
        """Return the outcome; of a strict replay that differed, that it did."""
        replaying = self._replaying
        if replaying is None or self._replay is None:
            return outcome
        unasked = _unasked(replaying)
        if unasked:
            self._noticed(f"Replay: {unasked}")
        if not self._replay.settings.strict or outcome.exit_code is ExitCode.INTERRUPTED:
            return outcome
        difference = replaying.first_difference or unasked
        if difference is None:
            return outcome
        reason = f"the run is not the recorded one: {difference}"
        return RunOutcome.of(ExitCode.EXECUTION, one_line(reason, 1000))

    def close(self) -> None:
        """Say where the cassette is, and what is missing from it."""
        writer = self._writer
        if writer is None:
            return
        if writer.problem is not None:
            self._noticed(f"Warning: {self._record_to}: not recorded to the end: {writer.problem}")
        self._noticed(f"Recorded: {self._record_to} ({writer.calls} model calls)")


def _unasked(replaying: "Replaying") -> str | None:
    left = replaying.never_asked()
    if not left:
        return None
    return f"{left[0].name} was not asked for" + (
        f", nor were {len(left) - 1} others" if len(left) > 1 else ""
    )
