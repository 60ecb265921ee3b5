"""The run image: named by its content, built where it is missing, once. Runs on: host."""

import fcntl
import os
import pwd
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runner import __version__
from runner.contract.text import one_line
from runner.errors import EngineError, ExecutionError
from runner.host.base_image import (
    BASE_REPOSITORY,
    BASE_VARIABLE,
    IMAGE_LABEL,
    BaseImage,
    debian_base_tag,
    ensure_base,
)
from runner.host.engine import Engine, ImageSummary
from runner.host.image_context import (
    REQUIREMENTS,
    ImageSource,
    content_hash,
    installed_source,
    write_context,
)
from runner.host.wheels import fetch_wheels

RUN_REPOSITORY = "massgen-runner/run"
OUR_REPOSITORIES = (f"{RUN_REPOSITORY}:", f"{BASE_REPOSITORY}:")
_TAG_DIGITS = 16
_STEP = re.compile(r"(\[\d+/\d+\] )?step \d+/\d+", re.IGNORECASE)  # Podman counts stages, too
_LOCK_TIMEOUT_SECONDS = 1800.0
_LOCK_POLL_SECONDS = 0.2
_CONTEXT_IN_MEMORY_BYTES = 32 * 1024 * 1024


class Pruned(NamedTuple):
    """What a clean-up of images removed, and what it could not remove with the reason."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]


def image_tag(environ: Mapping[str, str] = os.environ, source: ImageSource | None = None) -> str:
    """Return the run image's name, a hash of its content: an edit gives another name."""
    digest = content_hash(source or installed_source(), _chosen_base(environ))
    return f"{RUN_REPOSITORY}:{digest[:_TAG_DIGITS]}"


def ensure_image(
    engine: Engine,
    progress: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
    source: ImageSource | None = None,
    *,
    fresh_base: bool = False,
) -> str:
    """Return the name of the run image, built if the engine lacks it.

    Processes that need it at the same time build it once; the others wait. `fresh_base` pulls or
    makes the base again and builds in any case. Raises EngineError that says why it cannot be
    built.
    """
    source = source or installed_source()
    tag = image_tag(environ, source)
    if engine.has_image(tag) and not fresh_base:
        return tag
    with build_lock(cache_directory(environ), progress):
        if fresh_base or not engine.has_image(tag):
            build_image(engine, progress, environ, source, fresh_base=fresh_base)
    return tag


def build_image(
    engine: Engine,
    progress: Callable[[str], None],
    environ: Mapping[str, str],
    source: ImageSource,
    *,
    fresh_base: bool = False,
) -> str:
    """Build the run image and return its name; the caller holds the build lock."""
    tag = image_tag(environ, source)
    base = ensure_base(engine, source, _chosen_base(environ), progress, fresh=fresh_base)
    wheels_cache = cache_directory(environ) / "wheels"
    wheels = fetch_wheels(source.read(REQUIREMENTS), base.target, wheels_cache, progress)
    progress(f"building the run image {tag} on {base.reference}")
    with tempfile.SpooledTemporaryFile(max_size=_CONTEXT_IN_MEMORY_BYTES) as context:
        write_context(source, wheels, context)
        context.seek(0)
        engine.build(
            context,
            tag,
            build_arguments={"BASE_IMAGE": base.reference},
            labels=_labels(base),
            progress=_steps_only(progress),
        )
    return tag


def list_images(engine: Engine) -> list[ImageSummary]:
    """Return our images, newest first: run images, bases and kept build stages."""
    found = [image for image in engine.list_images({IMAGE_LABEL: None}) if _is_ours(image)]
    return sorted(found, key=lambda image: -image.created)


def prune_images(
    engine: Engine,
    environ: Mapping[str, str] = os.environ,
    source: ImageSource | None = None,
) -> Pruned:
    """Remove our images except the current run image, the current base and the last build stage.

    Only our label and our names count: an image that somebody built on one of ours, or a name that
    somebody gave one, is not touched. One in use is kept.
    """
    source = source or installed_source()
    current = {image_tag(environ, source), debian_base_tag(source)}
    removed: list[str] = []
    kept: list[str] = []
    for name in outdated(list_images(engine), current):
        try:
            engine.remove_image(name)
        except ExecutionError as error:
            kept.append(str(error))
        else:
            removed.append(name)
    return Pruned(tuple(removed), tuple(kept))


def outdated(images: Sequence[ImageSummary], current: Set[str]) -> list[str]:
    """Return what a clean-up removes of our `images`, newest first: names, or ids of nameless ones.

    The newest build stage stays: with it, an edited source builds in a second.
    """
    stages = [image for image in images if image.labels[IMAGE_LABEL] == "build"]
    names: list[str] = []
    for image in images:
        if image not in stages[:1] and not current & {own_name(tag) for tag in image.tags}:
            names += [tag for tag in image.tags if _is_our_name(tag)] or [image.id]
    return names


def own_name(tag: str) -> str:
    """Return a name without the host that Podman puts in front of what was built here."""
    for host in ("localhost/", "docker.io/"):
        tag = tag.removeprefix(host)
    return tag


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Return the program's cache directory; it may not exist. HOME may be unset."""
    base = environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "massgen-runner"
    home = environ.get("HOME", "")
    if not os.path.isabs(home):
        home = _home_of_user()
    return Path(home) / ".cache" / "massgen-runner"


@contextmanager
def build_lock(cache: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock under which images are built; raises EngineError after half an hour."""
    path = cache / "image.lock"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EngineError(
            f"{path}: cannot be written: {error.strerror}: "
            f"set XDG_CACHE_HOME to a directory of your own"
        ) from error
    with os.fdopen(descriptor, "wb"):
        if not _locked(descriptor):
            progress("another process is building the image: waiting for it")
            _wait_for_lock(descriptor, path)
        yield  # closing the file unlocks it


def _wait_for_lock(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_TIMEOUT_SECONDS
    while not _locked(descriptor):
        if time.monotonic() > deadline:
            raise EngineError(
                f"another process holds {path} since {_LOCK_TIMEOUT_SECONDS:.0f} s: end it"
            )
        time.sleep(_LOCK_POLL_SECONDS)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _home_of_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise EngineError(
            "there is no place to keep downloads: set HOME or XDG_CACHE_HOME"
        ) from None


def _chosen_base(environ: Mapping[str, str]) -> str:
    return environ.get(BASE_VARIABLE, "").strip()


def _labels(base: BaseImage) -> dict[str, str]:
    return {
        "org.opencontainers.image.version": __version__,
        "org.opencontainers.image.base.name": base.reference,
    }


def _is_ours(image: ImageSummary) -> bool:
    # Somebody's image built on one of ours inherits the label, but not our name.
    return not image.tags or any(_is_our_name(tag) for tag in image.tags)


def _is_our_name(tag: str) -> bool:
    return own_name(tag).startswith(OUR_REPOSITORIES)


def _steps_only(progress: Callable[[str], None]) -> Callable[[str], None]:
    def report(line: str) -> None:
        if _STEP.match(line):
            progress(one_line(line, 100))

    return report
