"""What a single YAML value means, without YAML 1.1's surprises. Runs on: host.

Dates and numbers to the base of sixty (`1:30`) stay text: no key of a configuration wants either.
"""

import re
from typing import Any, Final

_PREFIX = "tag:yaml.org,2002:"
STANDARD_TAGS = frozenset(
    _PREFIX + name
    for name in (
        *("null", "bool", "int", "float", "str", "timestamp"),
        *("seq", "map", "merge", "value"),
    )
)
_TRUE = frozenset({"yes", "true", "on"})
_FALSE = frozenset({"no", "false", "off"})
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?[eE][+-]?\d+")


class _Merge:
    """The key `<<`."""


MERGE: Final = _Merge()


class ScalarError(ValueError):
    """A value is not what its tag says, or is no text."""


def scalar_value(tag: str, text: str, *, json_numbers: bool = False) -> Any:
    """Return the value of a scalar: str, int, float, bool, None or MERGE. Raises ScalarError."""
    kind = tag.removeprefix(_PREFIX)
    if kind == "null":
        return None
    if kind == "merge":
        return MERGE
    if kind == "bool":
        return _bool(text)
    if kind in {"int", "float"} and ":" not in text:
        return _number(kind, text)
    if json_numbers and _JSON_NUMBER.fullmatch(text):
        return float(text)
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ScalarError("half of a surrogate pair is no text")
    return text


def _bool(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ScalarError("the value is tagged as true or false, and is neither")


def _number(kind: str, text: str) -> int | float | str:
    digits = text.replace("_", "")
    try:
        if kind == "float":
            return float(digits.lower().replace(".inf", "inf").replace(".nan", "nan"))
        sign = -1 if digits.startswith("-") else 1
        body = digits.lstrip("+-")
        if body.startswith(("0x", "0b")):
            return sign * int(body, 0)
        octal = body.startswith("0") and body != "0"
        return sign * int(body, 8 if octal else 10)
    except ValueError as error:
        if len(text) > 100:
            raise ScalarError("the number has too many digits") from error
        raise ScalarError("the value is tagged as a number, and is none") from error
