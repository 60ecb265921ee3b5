"""What the values of a configuration may be, each with its remedy. Runs on: host."""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)
from pydantic_core import PydanticCustomError

from runner.config.problems import listed, nearest, shown
from runner.config.providers import PROVIDERS
from runner.config.secrets import REFERENCE
from runner.contract.run_id import is_agent_id

NOT_YET = "not available yet"
OWN_FILE_ONLY = "in your own `runner.yaml` only"

_DAY = 86_400.0


def wrong(what: str, remedy: str = "") -> PydanticCustomError:
    """Return the error with which a validator refuses a value."""
    return PydanticCustomError("wrong", "{what}", {"what": what, "remedy": remedy})


def is_active(value: Any) -> bool:
    """Tell whether a value asks for something: false, null, 0 and what is empty do not."""
    if isinstance(value, dict):
        return any(is_active(v) for v in value.values())
    if isinstance(value, list):
        return any(is_active(v) for v in value)
    return bool(value)


def checked_inactive(value: JsonValue) -> JsonValue:
    if is_active(value):
        raise wrong(f"is {NOT_YET}", "take the key out")
    return value


def checked_known_type(value: str) -> str:
    if value in PROVIDERS:
        return value
    if value in {"claude_code", "ag2", "inference"}:
        raise wrong(f"{shown(value)} is {NOT_YET} (allowed: {listed(tuple(PROVIDERS))})")
    raise wrong(
        f"{shown(value)} is not a backend type (allowed: {listed(tuple(PROVIDERS))})",
        nearest(value, tuple(PROVIDERS)),
    )


_TAKEN_IDS = frozenset({"final", "agent_outputs"})


def checked_agent_id(value: str) -> str:
    if not is_agent_id(value):
        allowed = "a letter, then at most 63 letters, digits, _ or -"
        raise wrong(f"{shown(value)} is no agent id (allowed: {allowed})")
    if value.lower() in _TAKEN_IDS:
        raise wrong(f"{shown(value)} is a directory of the log itself", "choose another id")
    return value


def checked_reference(value: str) -> str:
    if value in {"", "EMPTY"} or REFERENCE.fullmatch(value):
        return value
    raise wrong(
        "must name an environment variable; a key in the file itself is refused",
        'write api_key: "${NAME}" and put the key into the environment or a .env file',
    )


_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}")
_MEMORY = re.compile(r"([1-9][0-9]{0,5}(?:\.[0-9]{1,3})?)([kmgt]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def memory_bytes(text: str) -> int | None:
    """Return the bytes of a size such as `2g` or `512m`; None where it is no size."""
    match = _MEMORY.fullmatch(text)
    return int(float(match[1]) * _UNITS[match[2].lower()]) if match else None


def checked_memory(value: str) -> str:
    size = memory_bytes(value)
    if size is None or not 64 * 1024**2 <= size <= 4 * 1024**4:
        raise wrong(f"{shown(value)} is no amount of memory (allowed: 64m to 4t, as in '2g')")
    return value


def checked_disk(value: str) -> str:
    size = memory_bytes(value)
    if size is None or not 16 * 1024**2 <= size <= 64 * 1024**4:
        raise wrong(f"{shown(value)} is no amount of disk (allowed: 16m to 64t, as in '10g')")
    return value


def checked_image(value: str) -> str:
    if not _IMAGE.fullmatch(value):
        raise wrong(f"{shown(value)} is no image name (allowed: name, name:tag, name@digest)")
    return value


_WORKSPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def checked_workspace(value: str) -> str:
    parts = value.removeprefix("./").rstrip("/").split("/")
    if not all(_WORKSPACE.fullmatch(part) for part in parts) or len(parts) > 8:
        raise wrong(
            f"{shown(value)} is no name of a workspace (allowed: letters, digits, . _ -)",
            "every run makes the directory anew under .massgen/workspaces: write cwd: workspace1",
        )
    return value


def checked_usd(value: float) -> float:
    if round(value, 6) != value:
        raise wrong(f"{shown(value)} is too fine (allowed: 6 digits after the point)")
    return value


def checked_name(value: str) -> str:
    if not value.strip() or any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise wrong(f"{shown(value)} is no name")
    return value


def checked_stop(value: Any) -> Any:
    texts = value if isinstance(value, list) else [value]
    if value is None or (0 < len(texts) <= 16 and all(isinstance(t, str) and t for t in texts)):
        return tuple(value) if isinstance(value, list) else value
    raise wrong("must be a text or a list of texts (allowed: 1 to 16, none empty)")


MAX_AGENTS = 64


def checked_agents(value: Any) -> Any:
    if isinstance(value, list) and not 1 <= len(value) <= MAX_AGENTS:
        raise wrong(f"has {len(value)} agents (allowed: 1 to {MAX_AGENTS})")
    return value


def checked_not_here(_: Any) -> Any:
    raise wrong(
        "is not taken from a configuration, which may be somebody else's: it starts a program",
        "write it into ~/.config/massgen/runner.yaml",
    )


T = TypeVar("T")
OwnFileOnly = Annotated[
    T, BeforeValidator(checked_not_here), Field(json_schema_extra={"state": OWN_FILE_ONLY})
]
NotYet = Annotated[
    JsonValue, AfterValidator(checked_inactive), Field(json_schema_extra={"state": NOT_YET})
]
Name = Annotated[str, Field(max_length=256), AfterValidator(checked_name)]
Seconds = Annotated[float, Field(gt=0, le=7 * _DAY)]
Level = Literal["lenient", "balanced", "strict"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class ConfigPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_set(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}
