"""How fast a run may call its providers, settled before it starts. Runs on: host."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runner.config.models import RateLimitConfig, RunConfig
from runner.config.own_settings import rate_limits
from runner.errors import ConfigurationError
from runner.host.day_budget import state_directory

if TYPE_CHECKING:
    from runner.gateway.rate_limits import RateLimiter


class Pacing(NamedTuple):
    """The limits that count for a run, and where it shares them with the user's others."""

    limits: Mapping[str, RateLimitConfig]
    directory: Path | None

    def limiter(self) -> "RateLimiter":
        """Return what the gateway asks before each call."""
        from runner.gateway.rate_limits import RateLimiter
        from runner.gateway.rate_state import RateLimits

        limits = {
            name: RateLimits(row.concurrency, row.requests_per_minute, row.tokens_per_minute)
            for name, row in self.limits.items()
        }
        return RateLimiter(self.directory, limits)


def pacing_for(config: RunConfig, environ: Mapping[str, str]) -> Pacing:
    """Return the pacing of a run.

    Raises ConfigurationError where the user's own file cannot be used, or where there are limits
    and no place to share them in.
    """
    limits, days = rate_limits(config, environ), state_directory(environ)
    if limits and days is None:
        raise ConfigurationError(
            "rate_limits: no place to share them with other runs: set HOME or XDG_STATE_HOME"
        )
    return Pacing(limits, days.parent / "rate-limits" if days else None)
