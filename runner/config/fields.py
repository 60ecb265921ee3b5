"""What the models say about a key: its model, its range, its choices. Runs on: host."""

import types
from typing import Annotated, Any, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from runner.config.models import RunConfig
from runner.config.problems import KeyPath


def branches(annotation: Any) -> list[Any]:
    """Return the members of a union, or the annotation itself."""
    if get_origin(annotation) in {Union, types.UnionType}:
        return [b for a in get_args(annotation) for b in branches(a)]
    return [annotation]


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that an annotation is, or is a list of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (model_in(a) for a in get_args(annotation))
    return next((model for model in inner if model is not None), None)


def is_named(field: FieldInfo) -> bool:
    """Tell whether a field holds a mapping whose keys the user chooses, each to a model."""
    return any(
        get_origin(branch) is dict and model_in(branch) is not None
        for branch in branches(field.annotation)
    )


def model_at(path: KeyPath, root: type[BaseModel] = RunConfig) -> type[BaseModel] | None:
    """Return the model of the mapping at `path` below `root`."""
    model: type[BaseModel] | None = root
    steps = (step for step in path if isinstance(step, str))
    for step in steps:
        field = model.model_fields.get(step) if model else None
        model = model_in(field.annotation) if field else None
        if field and is_named(field) and next(steps, None) is None:
            return None
    return model


def field_at(path: KeyPath, root: type[BaseModel] = RunConfig) -> FieldInfo | None:
    """Return the field of the key at `path`; positions in a list count as the list's key."""
    names = [index for index, step in enumerate(path) if isinstance(step, str)]
    model = model_at(path[: names[-1]], root) if names else None
    return model.model_fields.get(str(path[names[-1]])) if model else None


def choices(field: FieldInfo | None) -> list[str]:
    """Return the values of a field that has a few only."""
    found = branches(field.annotation) if field else []
    found = [get_args(b)[0] if get_origin(b) is tuple else b for b in found]
    return [str(value) for b in found if b is not type(None) for value in get_args(b)]


def range_of(field: FieldInfo | None) -> str:
    """Return `0 to 2`, `over 0 to 3600`, or nothing where a field has no bounds."""
    low = high = ""
    for mark in _marks(field):
        if isinstance(mark, Ge):
            low = f"{mark.ge} to "
        elif isinstance(mark, Gt):
            low = f"over {mark.gt} to "
        elif isinstance(mark, Le):
            high = f"{mark.le:.15g}"
        elif isinstance(mark, Lt):
            high = f"under {mark.lt}"
    return f"{low}{high}"


def _marks(field: FieldInfo | None) -> list[Any]:
    if field is None:
        return []
    return [*field.metadata, *(m for a in branches(field.annotation) for m in _own_marks(a))]


def _own_marks(annotation: Any) -> list[Any]:
    if get_origin(annotation) is not Annotated:
        return []
    marks: list[Any] = []
    for mark in get_args(annotation)[1:]:
        marks.extend(mark.metadata if isinstance(mark, FieldInfo) else [mark])
    return marks
