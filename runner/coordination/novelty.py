"""How much of an answer is new, by its words. Runs on: the run container."""

import re
from collections.abc import Iterable
from typing import Literal

Novelty = Literal["lenient", "balanced", "strict"]

MAX_OVERLAP: dict[Novelty, float] = {"lenient": 1.0, "balanced": 0.7, "strict": 0.5}
"""The share of common words above which an answer counts as a repetition."""

_WORD = re.compile(r"\w+")


def words(text: str) -> frozenset[str]:
    """Return the distinct words of `text` in lower case; without any, the text itself is one."""
    return frozenset(_WORD.findall(text.lower())) or frozenset({text.strip()})


def overlap(one: str, other: str) -> float:
    """Return the share of the words of both texts that they have in common, 0.0 to 1.0."""
    first, second = words(one), words(other)
    return len(first & second) / len(first | second)


def repeats(content: str, existing: Iterable[str], requirement: Novelty) -> float | None:
    """Return the greatest overlap with an existing answer if it is too great, else None."""
    limit = MAX_OVERLAP[requirement]
    if limit >= 1.0:
        return None
    greatest = max((overlap(content, answer) for answer in existing), default=0.0)
    return greatest if greatest > limit else None
