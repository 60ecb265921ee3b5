"""All keys of a configuration, for the documentation and as a JSON schema. Runs on: host.

`python -m runner.config.describe docs/reference/configuration.md` writes the tables anew.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from runner.config.fields import branches, is_named, model_in, range_of
from runner.config.models import RunConfig, Sampling
from runner.config.network import REFUSED
from runner.config.providers import PROVIDERS
from runner.config.values import NOT_YET

BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"


class Key(NamedTuple):
    """One key that a configuration can have."""

    path: str
    """From the top, with `[]` for a list and `NAME` for a key that the user chooses."""
    kind: str
    default: str
    state: str
    """`available`, `not available yet`, or where else it belongs."""
    text: str


def keys() -> Iterator[Key]:
    """Yield every key, in the order of the models."""
    yield from _keys(RunConfig, "", _texts())


def _keys(model: type[BaseModel], prefix: str, texts: dict[str, dict[str, str]]) -> Iterator[Key]:
    own_first = sorted(
        model.model_fields.items(), key=lambda item: item[0] in Sampling.model_fields
    )
    for name, field in own_first:
        path = f"{prefix}{name}"
        text = _text(model, name, texts)
        inner = model_in(field.annotation)
        if inner is not None:
            many = get_origin(field.annotation) is tuple
            yield Key(path, "list" if many else "mapping", _default(field), "available", text)
            below = "[]" if many else ".NAME" if is_named(field) else ""
            yield from _keys(inner, f"{path}{below}.", texts)
        else:
            yield Key(path, _kind(field), _default(field), _state(field), text)


def _state(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("state", "available")) if isinstance(extra, dict) else "available"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default()
    if value is None or value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`" if value else ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(field: FieldInfo) -> str:
    if _state(field) in {NOT_YET, REFUSED}:
        return ""
    names = [_type_name(a) for a in branches(field.annotation)]
    kind = " or ".join(name for name in names if name)
    bounds = range_of(field)
    return f"{kind}, {bounds}" if bounds else kind


def _type_name(annotation: Any) -> str:
    if hasattr(annotation, "__metadata__"):
        return _type_name(annotation.__origin__)
    simple = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if annotation in simple:
        return simple[annotation]
    if annotation is type(None):
        return ""
    if get_origin(annotation) in {tuple, list}:
        return "list of texts"
    if get_origin(annotation) is dict:
        return "mapping"
    return ", ".join(f"`{value}`" for value in get_args(annotation))


def _text(model: type[BaseModel], name: str, texts: dict[str, dict[str, str]]) -> str:
    for parent in model.__mro__:
        if name in texts.get(parent.__name__, {}):
            return texts[parent.__name__][name]
    return ""


def _texts() -> dict[str, dict[str, str]]:
    """Return the string under each field of each class in the package.

    Read when asked for: pydantic would read it at every import, which every start pays for.
    """
    texts: dict[str, dict[str, str]] = {}
    for node in _classes():
        for field, below in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = _docstring(below)
                texts.setdefault(node.name, {})[field.target.id] = " ".join(text.split())
    return texts


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        inner = model_in(field.annotation)
        if inner is not None:
            yield from _models(inner)


def _classes() -> Iterator[ast.ClassDef]:
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield node


def _docstring(node: ast.stmt) -> str:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return str(node.value.value) if is_text else ""  # type: ignore[attr-defined]


def json_schema() -> dict[str, JsonValue]:
    """Return the JSON schema of a configuration file, described, for editors."""
    schema: dict[str, Any] = RunConfig.model_json_schema()
    texts = _texts()
    known = {model.__name__: model for model in _models(RunConfig)}
    for name, part in [("RunConfig", schema), *schema["$defs"].items()]:
        for key, field in part.get("properties", {}).items():
            field["description"] = _text(known[name], key, texts)
    schema["properties"]["agent"] = {
        "$ref": "#/$defs/AgentConfig",
        "description": "One agent, instead of agents.",
    }
    schema["required"] = []
    schema["oneOf"] = [{"required": ["agents"]}, {"required": ["agent"]}]
    schema["title"] = "massgen-runner configuration"
    return schema


def reference() -> str:
    """Return the tables of the documentation, in Markdown."""
    rows = ["| key | type | default | state | |", "|---|---|---|---|---|"]
    for key in keys():
        text = key.text.replace("|", "\\|")
        rows.append(f"| `{key.path}` | {key.kind} | {key.default} | {key.state} | {text} |")
    rows += ["", "### Providers", ""]
    rows += ["| `type` | address | key variables | decisions |", "|---|---|---|---|"]
    for row in PROVIDERS.values():
        address = f"`{row.base_url}`" if row.base_url else "`base_url` is required"
        if row.name == "local":
            address = "served by the runner itself"
        variables = ", ".join(f"`{v}`" for v in row.key_variables) or "none needed"
        if row.name == "chatcompletion":
            variables = "of the provider whose address it is, else none"
        rows.append(f"| `{row.name}` | {address} | {variables} | `{row.decision_mode}` |")
    return "\n".join(rows)


def main(path: Path) -> None:
    """Write the tables between the marks in a page."""
    before, rest = path.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n{reference()}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
