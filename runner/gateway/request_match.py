"""Which recorded call a request is, and where the two differ. Runs on: host."""

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from runner.contract.text import one_line
from runner.gateway.cassette import RecordedCall

_SHOWN_CHARS = 40
_BEFORE_CHARS = 12


class Match(NamedTuple):
    """A recorded call for a request; `difference` is None where they are the same."""

    number: int
    """Position in the cassette."""
    difference: str | None


def exact_match(
    calls: Sequence[RecordedCall], candidates: Iterable[int], request: Any
) -> Match | None:
    """Return the first of the `candidates` that asked for exactly this."""
    for number in candidates:
        if same(calls[number].request, request):
            return Match(number, None)
    return None


def best_match(
    calls: Sequence[RecordedCall], candidates: Sequence[int], request: Any, ordinal: int
) -> Match | None:
    """Return the candidate of the same step that is nearest in ordinal; None without any."""
    if not candidates:
        return None
    step = _step(request)

    def distance(number: int) -> tuple[bool, int, int]:
        recorded = calls[number]
        away = abs(recorded.call.ordinal - ordinal)
        return (_step(recorded.request) != step, away, recorded.call.ordinal)

    number = min(candidates, key=distance)
    return Match(number, difference(calls[number].request, request))


def _step(request: Any) -> tuple[str, ...]:
    """Return what tells an answer, a vote and a presentation apart: tools and schema offered."""
    if not isinstance(request, dict):
        return ()
    return tuple(
        json.dumps(request.get(key), sort_keys=True) for key in ("tools", "response_format")
    )


def same(recorded: Any, asked: Any) -> bool:
    """Tell whether two JSON values are the same; 1 and true are not, 1 and 1.0 are not."""
    return json.dumps(recorded, sort_keys=True) == json.dumps(asked, sort_keys=True)


def difference(recorded: Any, asked: Any) -> str | None:
    """Return where two JSON values first differ, for people; None where they do not."""
    return _difference("", recorded, asked)


def _difference(path: str, recorded: Any, asked: Any) -> str | None:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        return _first(_in_key(path, key, recorded, asked) for key in sorted({*recorded, *asked}))
    if isinstance(recorded, list) and isinstance(asked, list):
        return _in_list(path, recorded, asked)
    if isinstance(recorded, str) and isinstance(asked, str):
        return None if recorded == asked else _in_text(path, recorded, asked)
    if same(recorded, asked):
        return None
    return f"{path or 'the request'}: {_shown(asked)}, recorded {_shown(recorded)}"


def _in_key(path: str, key: str, recorded: dict[str, Any], asked: dict[str, Any]) -> str | None:
    where = f"{path}.{one_line(key, 60)}" if path else one_line(key, 60)
    if key not in asked:
        return f"{where}: missing, recorded {_shown(recorded[key])}"
    if key not in recorded:
        return f"{where}: {_shown(asked[key])}, not recorded"
    return _difference(where, recorded[key], asked[key])


def _in_list(path: str, recorded: list[Any], asked: list[Any]) -> str | None:
    for index, (old, new) in enumerate(zip(recorded, asked, strict=False)):
        if found := _difference(f"{path}[{index}]", old, new):
            return found
    if len(recorded) == len(asked):
        return None
    return f"{path}: has {len(asked)} entries, recorded {len(recorded)}"


def _in_text(path: str, recorded: str, asked: str) -> str:
    pairs = itertools.zip_longest(recorded, asked)
    at = next(index for index, (old, new) in enumerate(pairs) if old != new)
    begin = max(0, at - _BEFORE_CHARS)
    old, new = (_shown(text[begin : begin + _SHOWN_CHARS]) for text in (recorded, asked))
    return f"{path or 'the request'} at character {at + 1}: {new}, recorded {old}"


def _first(found: Iterable[str | None]) -> str | None:
    return next((one for one in found if one is not None), None)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else repr(value)
    return one_line(text, 2 * _SHOWN_CHARS)
