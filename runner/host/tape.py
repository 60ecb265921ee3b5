"""What stands between a run and its providers when it is recorded or replayed. Runs on: host."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runner import __version__
from runner.contract.outcome import ExitCode, RunOutcome
from runner.contract.text import one_line
from runner.errors import ConfigurationError

if TYPE_CHECKING:
    from runner.gateway.caching import Caching
    from runner.gateway.cassette import Cassette
    from runner.gateway.rate_limits import RateLimiter
    from runner.gateway.recording import CassetteWriter
    from runner.gateway.redaction import Redactor
    from runner.gateway.replaying import Replaying, ReplaySettings
    from runner.gateway.routes import Route
    from runner.gateway.upstream import ModelCalls, RetryPolicy


class Replay(NamedTuple):
    """A cassette that answers a run's model calls."""

    cassette: "Cassette"
    settings: "ReplaySettings"


def responses_directory(environ: Mapping[str, str]) -> Path:
    """Return the user's cache of answers; raises ConfigurationError where no home is known."""
    for name, below in (("XDG_CACHE_HOME", ""), ("HOME", ".cache")):
        base = environ.get(name, "")
        if os.path.isabs(base):  # the XDG specification: a relative path is ignored
            return Path(base, below, "massgen-runner", "responses")
    raise ConfigurationError("--cache: no place to keep answers: set HOME or XDG_CACHE_HOME")


class Tape:
    """Records a run, replays it, or takes what it can from the cache; mostly nothing of it."""

    def __init__(
        self,
        *,
        record_to: Path | None,
        question: str,
        config: Mapping[str, Any],
        cache_in: Path | None,
        replay: Replay | None,
        noticed: Callable[[str], None],
        secrets: Sequence[str] = (),
    ) -> None:
        self._record_to = record_to
        self._cache_in = cache_in
        self._question = question
        self._config = config
        self._replay = replay
        self._noticed = noticed
        self._secrets = tuple(secrets)
        self._replaying: Replaying | None = None
        self._caching: Caching | None = None
        self._writer: CassetteWriter | None = None

    def upstream(
        self,
        routes: Sequence["Route"],
        retry: "RetryPolicy",
        stall_timeout_seconds: float,
        limiter: "RateLimiter",
    ) -> "ModelCalls | None":
        """Return what the gateway is to ask; None: the providers, as always."""
        if self._replay is None and self._record_to is None and self._cache_in is None:
            return None
        from runner.gateway.redaction import Redactor

        redact = Redactor(self._secrets)
        redact.learn(route.credential.reveal() for route in routes if route.credential)
        calls = self._answering(redact, retry, stall_timeout_seconds, limiter)
        return calls if self._record_to is None else self._recording(calls, self._record_to, redact)

    def _answering(
        self,
        redact: "Redactor",
        retry: "RetryPolicy",
        stall_timeout_seconds: float,
        limiter: "RateLimiter",
    ) -> "ModelCalls":
        """Return what gives the answers: a cassette, the cache, or the providers."""
        if self._replay is not None:
            from runner.gateway.replaying import Replaying

            self._replaying = Replaying(self._replay.cassette, self._replay.settings, self._noticed)
            return self._replaying
        from runner.gateway.upstream import Upstream

        upstream = Upstream(
            retry=retry,
            stall_timeout_seconds=stall_timeout_seconds,
            redact=redact,
            limiter=limiter,
        )
        if self._cache_in is None:
            return upstream
        from runner.gateway.caching import Caching

        self._caching = Caching(upstream, self._cache_in, redact)
        return self._caching

    def _recording(self, calls: "ModelCalls", path: Path, redact: "Redactor") -> "ModelCalls":
        from runner.gateway.cassette import Header
        from runner.gateway.recording import CassetteWriter, Recording

        header = Header(
            recorded_by=f"massgen-runner {__version__}",
            question=self._question,
            config=dict(self._config),
        )
        self._writer = CassetteWriter(path, header, redact)
        return Recording(calls, self._writer)

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
        """Say what came from the cache, where the cassette is, and what is missing from it."""
        if self._caching is not None:
            self._noticed(f"Cache: {_calls(self._caching.hits)} answered from the disk")
        writer = self._writer
        if writer is None:
            return
        if writer.problem is not None:
            self._noticed(f"Warning: {self._record_to}: not recorded to the end: {writer.problem}")
        self._noticed(f"Recorded: {self._record_to} ({_calls(writer.calls)})")


def _unasked(replaying: "Replaying") -> str | None:
    left = replaying.never_asked()
    if not left:
        return None
    return f"{left[0].name} was not asked for" + (
        f", nor were {len(left) - 1} others" if len(left) > 1 else ""
    )


def _calls(number: int) -> str:
    return f"{number} model call" if number == 1 else f"{number} model calls"
