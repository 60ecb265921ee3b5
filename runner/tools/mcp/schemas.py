"""Whether the schema of a tool's arguments can be given to a model. Runs on: the agent container.

A server can claim anything: what is no schema, is enormous, or becomes so where references are
written out, keeps that tool away from the agent, so that no provider refuses all the others.
"""

import json
from collections.abc import Iterable
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for
from pydantic import JsonValue

from runner.contract.text import one_line

MAX_PARTS = 5_000
"""Values in a schema, each reference written out once."""
MAX_DEPTH = 40
MAX_CHARS = 30_000
"""Of a schema as it is written."""


class SchemaMistake(Exception):
    """Why a schema cannot be used; the message goes on from the tool's name."""


def usable_schema(schema: dict[str, Any]) -> dict[str, JsonValue]:
    """Return a schema as providers take it. Raises SchemaMistake."""
    _Measure(schema).check()
    if len(json.dumps(schema)) > MAX_CHARS:
        raise _too_long()
    cleaned = {"type": "object", "properties": {}} | schema
    if cleaned["type"] != "object" or not isinstance(cleaned["properties"], dict):
        raise SchemaMistake("takes no object as its arguments")
    try:
        validator_for(cleaned, default=Draft202012Validator).check_schema(cleaned)
    except SchemaError as error:
        raise SchemaMistake(f"has no valid JSON schema: {one_line(error.message, 200)}") from error
    return {key: value for key, value in cleaned.items() if key != "$schema"}


def _too_long() -> SchemaMistake:
    return SchemaMistake(f"has a schema of more than {MAX_CHARS:,} characters")


class _Measure:
    """How large a schema is where its references are written out."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._sizes: dict[str, int] = {}
        self._open: set[str] = set()
        self._chars = 0

    def check(self) -> None:
        """Raises SchemaMistake."""
        self._size(self._schema, 0)

    def _size(self, value: Any, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise SchemaMistake(f"has a schema nested deeper than {MAX_DEPTH}")
        if isinstance(value, str):
            self._count(value)
        if isinstance(value, list):
            return self._sum(value, depth)
        if not isinstance(value, dict):
            return 1
        for name in value:
            self._count(name)
        reference = value.get("$ref")
        size = self._target_size(reference, depth) if isinstance(reference, str) else 0
        return self._bounded(size + self._sum(value.values(), depth))

    def _count(self, text: str) -> None:
        self._chars += len(text)
        if self._chars > MAX_CHARS:
            raise _too_long()

    def _sum(self, values: Iterable[Any], depth: int) -> int:
        total = 1
        for value in values:
            total = self._bounded(total + self._size(value, depth + 1))
        return total

    def _bounded(self, size: int) -> int:
        if size > MAX_PARTS:
            raise SchemaMistake(f"has a schema of more than {MAX_PARTS:,} parts")
        return size

    def _target_size(self, reference: str, depth: int) -> int:
        if reference in self._open:
            return 1  # a type that contains itself, as that of a tree does
        if reference not in self._sizes:
            self._open.add(reference)
            self._sizes[reference] = self._size(_target(self._schema, reference), depth + 1)
            self._open.remove(reference)
        return self._sizes[reference]


def _target(schema: Any, reference: str) -> Any:
    if reference != "#" and not reference.startswith("#/"):
        raise SchemaMistake("has a schema that refers to something outside of it")
    for part in reference.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(schema, dict) or key not in schema:
            raise SchemaMistake(f"has a schema that refers to {one_line(reference, 60)}, not there")
        schema = schema[key]
    return schema
