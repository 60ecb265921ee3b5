"""Scripts with a name, for the command line. Runs on: host."""

from tests.support.provider.replies import (
    BrokenArguments,
    CloseAfter,
    Endless,
    Garbage,
    Html,
    Silence,
    Text,
)
from tests.support.provider.script import Rule, Script, forever

_BENCH_TEXT = "word " * 20_000


def scenarios() -> dict[str, Script]:
    """Return the named scripts."""
    return {
        "cooperative": Script(),
        "unauthorized": Script.always(forever(401)),
        "rate-limited": Script.always(forever(429, Retry_After="1")),
        "failing": Script.always(forever(500)),
        "overloaded": Script.always(forever(529)),
        "silent": Script.always(Silence()),
        "half": Script.always(CloseAfter(3)),
        "garbage": Script.always(Garbage()),
        "html": Script.always(Html()),
        "endless": Script.always(Endless()),
        "broken-arguments": Script.always(BrokenArguments()),
        # One short word an event: how much streaming costs, not how much text does.
        "chunks": Script(rules=(Rule((Text(_BENCH_TEXT, tokens_per_chunk=1),), step="text"),)),
    }
