"""Copies of what the run image is made of, for tests that edit it. Runs on: host."""

import shutil
from pathlib import Path

from runner.host.image_context import (
    BASE_RECIPE,
    DOCKERFILE,
    REQUIREMENTS,
    ImageSource,
    installed_source,
)


def copied_source(tmp_path: Path) -> ImageSource:
    """Return a copy of the installed source that a test may edit."""
    source = installed_source()
    copy = ImageSource(tmp_path / "runner", tmp_path / "resources")
    shutil.copytree(source.package, copy.package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (DOCKERFILE, REQUIREMENTS, BASE_RECIPE):
        target = copy.resources / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source.resources / name, target)
    return copy
