"""What a run image is made of, and its hash. Runs on: host."""

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from runner.config.resources import resources_root

DOCKERFILE = "Dockerfile"
REQUIREMENTS = "images/run/requirements.txt"
BASE_RECIPE = "images/base/make-debian"
# The container's side of the package; import contracts keep it from importing the rest.
_SOURCES = ("__init__.py", "errors.py", "contract", "coordination", "tools")
_DEFAULT_BASE = re.compile(r"^ARG BASE_IMAGE=(\S+)$", re.MULTILINE)


class ImageSource(NamedTuple):
    """Where the parts of a run image are read from."""

    package: Path
    """The directory of the package `runner`."""
    resources: Path
    """The directory with Dockerfile and images/."""

    def read(self, name: str) -> bytes:
        """Return the content of a resource."""
        return (self.resources / name).read_bytes()

    @property
    def default_base(self) -> str:
        """The base image that the Dockerfile names."""
        found = _DEFAULT_BASE.search(self.read(DOCKERFILE).decode())
        if found is None:
            raise ValueError("Dockerfile: no line `ARG BASE_IMAGE=`")
        return found[1]


def installed_source() -> ImageSource:
    """Return the source of the program that is running."""
    return ImageSource(Path(__file__).resolve().parent.parent, resources_root())


def content_hash(source: ImageSource, base: str) -> str:
    """Return a hash of all that decides what the image contains.

    `base` is the base image that the user chose, empty for the default. The wheels are covered by
    the hashes in the requirements, the default base by the Dockerfile and the recipe.
    """
    digest = hashlib.sha256()
    parts = [("base", base.encode()), (BASE_RECIPE, source.read(BASE_RECIPE))]
    for name, content in [*parts, *_context_files(source)]:
        for part in (name.encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def write_context(source: ImageSource, wheels: list[Path], stream: IO[bytes]) -> None:
    """Write the build context as a tar; the same parts always give the same bytes."""
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in _context_files(source):
            archive.addfile(_entry(name, len(content)), io.BytesIO(content))
        for wheel in sorted(wheels):
            with wheel.open("rb") as file:
                archive.addfile(_entry(f"wheels/{wheel.name}", wheel.stat().st_size), file)


def _context_files(source: ImageSource) -> Iterator[tuple[str, bytes]]:
    for name in (DOCKERFILE, REQUIREMENTS):
        yield name, source.read(name)
    for path in _source_files(source.package):
        name = f"src/runner/{path.relative_to(source.package).as_posix()}"
        yield name, path.read_bytes()


def _source_files(package: Path) -> list[Path]:
    found: list[Path] = []
    for name in _SOURCES:
        path = package / name
        found += path.rglob("*.py") if path.is_dir() else [path]
    return sorted(found)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)  # time, owner and group are 0 by default
    entry.size = size
    entry.mode = 0o644
    return entry
