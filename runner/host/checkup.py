"""Look at everything that a run needs, and say what is missing. Runs on: host."""

import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from runner.config.load import check_config, find_default_config
from runner.errors import RunnerError
from runner.host.engine import Engine, connect
from runner.host.images import image_tag
from runner.host.keys import provider_keys
from runner.local_model.lease import is_llama_installed
from runner.local_model.manifest import load_manifest
from runner.local_model.places import models_directory
from runner.local_model.weights import are_present

LEAST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 1_000_000_000
LEAST_API = (1, 41)
"""The oldest that the runner is tested with."""

Level = Literal["ok", "warning", "error"]


class Finding(NamedTuple):
    """One line of a check-up. Only an error keeps every run from being carried out."""

    name: str
    level: Level
    found: str
    remedy: str | None = None


def check_machine(environ: Mapping[str, str], cwd: Path) -> Sequence[Finding]:
    """Return what was found, in the order in which a run needs it."""
    return [
        _python(),
        *_engine(environ),
        _keys(environ, cwd),
        *_configuration(environ, cwd),
        _guarded("local model", lambda: _local_model(environ)),
        _disk(cwd),
    ]


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < LEAST_PYTHON:
        return Finding("python", "error", version, "install Python 3.11 or later")
    return Finding("python", "ok", version)


def _engine(environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        with connect(environ, timeout=20.0) as engine:
            engine.ping()
            yield from _engine_findings(engine)
            yield _guarded("image", lambda: _image(engine, environ))
    except RunnerError as error:
        what, _, remedy = str(error).rpartition(": ")
        hint = f"{remedy}; `massgen-runner engine start` starts one of your own where it can"
        yield Finding("engine", "error", what or remedy, hint)


def _engine_findings(engine: Engine) -> Iterator[Finding]:
    info = engine.info()
    kind = "rootless" if info.rootless else "user namespaces" if info.userns_remap else "rootful"
    found = (
        f"{info.name} {info.version}, API {info.api_version}, {kind}, "
        f"cgroup v{info.cgroup_version}, {info.url}"
    )
    if _numbers(info.api_version) < LEAST_API:
        wanted = ".".join(map(str, LEAST_API))
        yield Finding("engine", "warning", found, f"untested before API {wanted}: upgrade it")
    else:
        yield Finding("engine", "ok", found)
    if info.rootless and info.cgroup_version == "1":
        remedy = "boot with systemd.unified_cgroup_hierarchy=1, or use a rootful engine"
        yield Finding("limits", "warning", "rootless with cgroup v1: memory is unlimited", remedy)


def _image(engine: Engine, environ: Mapping[str, str]) -> Finding:
    tag = image_tag(environ)
    if engine.has_image(tag):
        return Finding("image", "ok", tag)
    remedy = "the first run builds it; `massgen-runner image build` does so now"
    return Finding("image", "warning", f"{tag} is missing", remedy)


def _keys(environ: Mapping[str, str], cwd: Path) -> Finding:
    """Say for which providers a key is found; a value is never looked at here."""
    found = ((key.name, key.credential) for key in provider_keys(environ, cwd))
    usable = [f"{name} ({c.variable} from {c.source})" for name, c in found if c]
    if usable:
        return Finding("keys", "ok", ", ".join(usable))
    remedy = "set one, e.g. OPENAI_API_KEY or ANTHROPIC_API_KEY; the local model needs none"
    return Finding("keys", "warning", "no provider's key is set", remedy)


def _configuration(environ: Mapping[str, str], cwd: Path) -> Iterator[Finding]:
    """Show what is worth a warning in the configuration that is used where none is named."""
    try:
        path = find_default_config(cwd, environ)
    except RunnerError:
        return
    checked = check_config(path, cwd=cwd)
    for problem in (*checked.errors, *checked.warnings):
        yield Finding("configuration", "warning", str(problem))
    if not checked.errors and not checked.warnings:
        yield Finding("configuration", "ok", path)


def _local_model(environ: Mapping[str, str]) -> Finding:
    manifest = load_manifest()
    if not is_llama_installed():
        remedy = "pip install 'massgen-runner[local]', if you want it"
        return Finding("local model", "warning", "llama.cpp is not installed", remedy)
    models = models_directory(environ)
    if are_present(manifest, models):
        return Finding("local model", "ok", f"{manifest.name} in {models}")
    size = f"{manifest.download_size / 1e9:.1f} GB"
    remedy = f"the first use downloads it; `massgen-runner model download` does so now ({size})"
    return Finding("local model", "warning", f"{manifest.name} is not downloaded", remedy)


def _disk(cwd: Path) -> Finding:
    free = shutil.disk_usage(cwd).free
    found = f"{free / 1e9:.1f} GB free in {cwd}"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "warning", found, "make room: a full disk ends a run")
    return Finding("disk", "ok", found)


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except RunnerError as error:
        what, _, remedy = str(error).rpartition(": ")
        return Finding(name, "warning", what or remedy, remedy if what else None)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
