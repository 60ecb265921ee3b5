"""What a container engine's answers say, as values. Runs on: host."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from runner.contract.text import one_line


class EngineInfo(NamedTuple):
    """What an engine says about itself."""

    name: Literal["docker", "podman"]
    version: str
    api_version: str
    rootless: bool
    userns_remap: bool
    cgroup_version: str
    security: tuple[str, ...]
    url: str


class ContainerState(NamedTuple):
    """State of a container; times as the engine gives them (RFC 3339), `0001-…` for never."""

    status: str
    running: bool
    paused: bool
    oom_killed: bool
    """False says nothing with Podman on cgroup v1, which does not notice."""
    exit_code: int | None
    """None while it is running or was never started."""
    error: str
    started_at: str
    finished_at: str


class ContainerSummary(NamedTuple):
    """One line of a list of containers; `created` in epoch seconds of the engine's clock."""

    id: str
    name: str
    labels: Mapping[str, str]
    state: str
    created: int


class ImageSummary(NamedTuple):
    """One line of a list of images; `created` in epoch seconds of the engine's clock."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    size_bytes: int
    created: int


def label_filter(labels: Mapping[str, str | None]) -> list[str]:
    """Return the filter of a list request; None asks for a label with any value."""
    return [name if value is None else f"{name}={value}" for name, value in labels.items()]


def engine_info(version: Mapping[str, Any], info: Mapping[str, Any], url: str) -> EngineInfo:
    """Read the answers of GET /version and GET /info."""
    components = version.get("Components") or []
    podman = any("podman" in str(item.get("Name", "")).lower() for item in components)
    security = tuple(str(option) for option in info.get("SecurityOptions") or ())
    return EngineInfo(
        name="podman" if podman else "docker",
        version=str(version.get("Version", "")),
        api_version=str(version.get("ApiVersion", "")),
        rootless=any(option.startswith("name=rootless") for option in security),
        userns_remap=any(option.startswith("name=userns") for option in security),
        cgroup_version=str(info.get("CgroupVersion") or "1"),
        security=security,
        url=url,
    )


def container_state(state: Mapping[str, Any]) -> ContainerState:
    """Read `State` of an inspected container."""
    ended = state["Status"] in {"exited", "dead"}
    return ContainerState(
        status=str(state["Status"]),
        running=bool(state.get("Running")),
        paused=bool(state.get("Paused")),
        oom_killed=bool(state.get("OOMKilled")),
        exit_code=int(state["ExitCode"]) if ended else None,
        error=one_line(str(state.get("Error") or "")),
        started_at=str(state.get("StartedAt") or ""),
        finished_at=str(state.get("FinishedAt") or ""),
    )


def container_summary(item: Mapping[str, Any]) -> ContainerSummary:
    """Read one item of GET /containers/json."""
    names = item.get("Names") or [""]
    return ContainerSummary(
        id=str(item["Id"]),
        name=str(names[0]).lstrip("/"),
        labels=dict(item.get("Labels") or {}),
        state=str(item.get("State") or ""),
        created=int(item.get("Created") or 0),
    )


def image_summary(item: Mapping[str, Any]) -> ImageSummary:
    """Read one item of GET /images/json."""
    tags = tuple(tag for tag in item.get("RepoTags") or () if tag != "<none>:<none>")
    return ImageSummary(
        id=str(item["Id"]),
        tags=tags,
        labels=dict(item.get("Labels") or {}),
        size_bytes=int(item.get("Size") or 0),
        created=int(item.get("Created") or 0),
    )


def split_tag(reference: str) -> tuple[str, str | None]:
    """Split `name:tag` or `name@digest`; a port in the registry's name is no tag."""
    name, at, digest = reference.partition("@")
    if at:
        return name, digest
    head, colon, tag = reference.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (reference, None)
