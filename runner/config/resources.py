"""Files that travel with the program: Dockerfile, images/, configs/. Runs on: host."""

from pathlib import Path

from runner.errors import ConfigurationError

_PACKAGE = Path(__file__).resolve().parent.parent


def resources_root() -> Path:
    """Return the directory of the files: inside an installed package, else the checkout's top."""
    packaged = _PACKAGE / "packaged"
    return packaged if packaged.is_dir() else _PACKAGE.parent


def resource(name: str) -> Path:
    """Return the path of the file or directory `name`, for example `Dockerfile` or `configs`.

    Raises ConfigurationError where the installation lacks it.
    """
    path = resources_root() / name
    if not path.exists():
        raise ConfigurationError(
            f"{path}: a part of massgen-runner is missing: install the package again"
        )
    return path
