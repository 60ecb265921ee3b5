"""The image that a run image stands on: pulled, or made from Debian packages. Runs on: host."""

import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runner.contract.text import one_line
from runner.errors import EngineError, ExecutionError
from runner.host.engine import Engine
from runner.host.image_context import BASE_RECIPE, ImageSource
from runner.host.setup_commands import install_packages, run_command, search_path
from runner.host.wheels import Target

BASE_VARIABLE = "MASSGEN_RUNNER_BASE_IMAGE"
BASE_REPOSITORY = "massgen-runner/base"
IMAGE_LABEL = "dev.runner.image"
_OLDEST_PYTHON = (3, 11)
# A registry that can be reached answers within this; otherwise the base is made here.
_PULL_SILENCE_SECONDS = 10.0
# ensurepip is what makes a virtual environment with pip without a network.
_PROBE = """
import ensurepip, json, platform, sys, venv
print(json.dumps([sys.version_info[:2], platform.machine(), platform.libc_ver()]))
"""


class BaseImage(NamedTuple):
    """A base that the engine has, and which wheels fit it."""

    reference: str
    target: Target


def ensure_base(
    engine: Engine,
    source: ImageSource,
    chosen: str,
    progress: Callable[[str], None],
    *,
    fresh: bool = False,
) -> BaseImage:
    """Return a base that the engine has: the `chosen` one, else the default or one made here.

    `fresh` pulls or makes it again. Raises EngineError with the remedy when there is none and none
    can be had.
    """
    known = [chosen] if chosen else [debian_base_tag(source), source.default_base]
    present = [] if fresh else [name for name in known if engine.has_image(name)]
    if present:
        reference = present[0]
    elif chosen:
        reference = _pull_chosen(engine, chosen, progress)
    else:
        reference = _pull_or_make(engine, source, progress)
    return BaseImage(reference, probe_target(engine, reference))


def debian_base_tag(source: ImageSource) -> str:
    """Return the name of the base made from Debian packages: a hash of its recipe."""
    digest = hashlib.sha256(source.read(BASE_RECIPE)).hexdigest()
    return f"{BASE_REPOSITORY}:{digest[:12]}"


def probe_target(engine: Engine, reference: str) -> Target:
    """Ask the Python of an image for its version and system; raises EngineError if it won't do."""
    config = {
        "Entrypoint": ["python3", "-I", "-c", _PROBE],
        "Cmd": [],
        "User": "65534:65534",
        "Labels": {IMAGE_LABEL: "probe"},
        "HostConfig": {"NetworkMode": "none", "ReadonlyRootfs": True, "CapDrop": ["ALL"]},
    }
    container = engine.create(f"runner-probe-{secrets.token_hex(6)}", reference, config)
    try:
        engine.start(container)
        code = engine.wait(container)
        output = engine.logs(container)
    except ExecutionError as error:
        raise EngineError(f"base image {reference} cannot start python3: {error}") from error
    finally:
        engine.remove(container)
    if code != 0:
        raise EngineError(
            f"base image {reference} will not do: its python3 needs venv and ensurepip "
            f"(python3-venv in Debian): {one_line(output, 300)}"
        )
    return parse_target(reference, output)


def parse_target(reference: str, output: str) -> Target:
    """Read what the probe printed; raises EngineError for a system without fitting wheels."""
    try:
        (major, minor), machine, (libc, version) = json.loads(output)
        python = (int(major), int(minor))
        glibc_major, glibc_minor = (int(part) for part in version.split(".")[:2])
    except (ValueError, TypeError, AttributeError) as error:
        raise EngineError(
            f"base image {reference} is no glibc system: use one such as Debian: "
            f"{one_line(output, 200)}"
        ) from error
    if libc != "glibc" or not str(machine).isidentifier():
        raise EngineError(f"base image {reference} is no glibc system: use one such as Debian")
    if python < _OLDEST_PYTHON:
        raise EngineError(
            f"base image {reference} has Python {major}.{minor}: 3.11 or later is needed"
        )
    return Target(python, str(machine), (glibc_major, glibc_minor))


def _pull_chosen(engine: Engine, reference: str, progress: Callable[[str], None]) -> str:
    progress(f"pulling the base image {reference}, which {BASE_VARIABLE} names")
    try:
        engine.pull(reference, progress)
    except (EngineError, ExecutionError) as error:
        raise EngineError(f"{BASE_VARIABLE}: {error}") from error
    return reference


def _pull_or_make(engine: Engine, source: ImageSource, progress: Callable[[str], None]) -> str:
    made_here = debian_base_tag(source)
    pulled = source.default_base
    progress(f"pulling the base image {pulled}")
    try:
        engine.pull(pulled, progress, silence_seconds=_PULL_SILENCE_SECONDS)
    except (EngineError, ExecutionError) as error:
        progress(f"{one_line(str(error), 300)}; making a base from Debian packages instead")
        make_debian_base(engine, source, str(error), progress)
        return made_here
    return pulled


def make_debian_base(
    engine: Engine, source: ImageSource, pull_problem: str, progress: Callable[[str], None]
) -> None:
    """Make a base with debootstrap and import it; takes about a minute.

    Raises EngineError with the remedies where that cannot be done; `pull_problem` is part of it.
    """
    if os.geteuid() != 0:
        raise EngineError(
            f"there is no base for the run image: {pull_problem}; making one from Debian packages "
            f"needs root: run `sudo massgen-runner image build` once against the same engine, "
            f"or set {BASE_VARIABLE} to an image with Python 3.11 or later"
        )
    _ensure_debootstrap(pull_problem, progress)
    progress("making the base image from Debian packages: takes about a minute, 130 MB")
    with _work_directory() as work:
        archive = work / "base.tar"
        recipe = str(source.resources / BASE_RECIPE)
        run_command(["sh", recipe, str(archive)], _first_of_each_kind(progress))
        progress("importing the base image")
        changes = ["ENV LANG=C.UTF-8", f"LABEL {IMAGE_LABEL}=base", 'CMD ["python3"]']
        engine.import_image(str(archive), debian_base_tag(source), changes)


def _ensure_debootstrap(pull_problem: str, progress: Callable[[str], None]) -> None:
    if shutil.which("debootstrap", path=search_path()):
        return
    if not shutil.which("apt-get"):
        raise EngineError(
            f"there is no base for the run image: {pull_problem}; making one needs debootstrap: "
            f"install it, or set {BASE_VARIABLE} to an image with Python 3.11 or later"
        )
    progress("installing debootstrap with apt-get")
    # Debian's keys are needed too where the machine itself is an Ubuntu.
    install_packages(["debootstrap", "debian-archive-keyring"], progress)


@contextmanager
def _work_directory() -> Iterator[Path]:
    # /var/tmp is on a disk; /tmp may be memory, or mounted so that no device can be made there.
    disk = "/var/tmp"  # noqa: S108 a directory with a random name is made below it
    parent = disk if os.access(disk, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="massgen-runner-base-", dir=parent) as name:
        yield Path(name)


def _first_of_each_kind(progress: Callable[[str], None]) -> Callable[[str], None]:
    """Return what listens to debootstrap, which says `I: Unpacking …` for each package."""
    kinds: set[str] = set()

    def heard(line: str) -> None:
        kind = line.removeprefix("I: ").partition(" ")[0]
        if line.startswith("I: ") and kind not in kinds:
            kinds.add(kind)
            progress(line.removeprefix("I: "))

    return heard
