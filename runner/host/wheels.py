"""Wheels for the Python of an image, fetched by the host's pip and kept. Runs on: host."""

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from runner.config.child_environment import without_keys
from runner.contract.text import one_line
from runner.errors import EngineError

_PIP_TIMEOUT_SECONDS = 900
_OLDEST_MANYLINUX_GLIBC = 5  # manylinux1 is glibc 2.5


class Target(NamedTuple):
    """The Python and the system that wheels are for."""

    python: tuple[int, int]
    machine: str
    """As the kernel names it: x86_64, aarch64."""
    glibc: tuple[int, int]


def fetch_wheels(
    requirements: bytes, target: Target, cache: Path, progress: Callable[[str], None]
) -> list[Path]:
    """Return the wheels of hash-checked requirements for `target`, downloaded once into `cache`.

    The caller keeps other processes away. Raises EngineError that says what pip said.
    """
    key = hashlib.sha256(requirements + repr(target).encode()).hexdigest()[:16]
    directory = cache / key
    if not directory.is_dir():
        progress(f"downloading the run image's packages for {_described(target)}")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".tmp-") as name:
            _download(requirements, target, Path(name))
            Path(name, "wheels").rename(directory)
    return sorted(directory.glob("*.whl"))


def pip_arguments(target: Target) -> list[str]:
    """Return pip's options that select wheels for `target` instead of for this machine."""
    major, minor = target.python
    versions = range(target.glibc[1], _OLDEST_MANYLINUX_GLIBC - 1, -1)
    names = [f"manylinux_{target.glibc[0]}_{version}" for version in versions]
    names += ["manylinux2014", "manylinux2010", "manylinux1", "linux"]
    platforms = [f"--platform={name}_{target.machine}" for name in names]
    abis = [f"--abi={abi}" for abi in (f"cp{major}{minor}", "abi3", "none")]
    return ["--implementation=cp", f"--python-version={major}.{minor}", *abis, *platforms]


def without_markers(requirements: str) -> str:
    """Return pinned requirements without their environment markers.

    pip on the host would judge markers by the host's Python. Inside the image they are judged
    right, so one wheel too many is downloaded at most.
    """
    return re.sub(r"^([^#\s][^;\n]*?)\s*;[^\\\n]*", r"\1 ", requirements, flags=re.MULTILINE)


def _download(requirements: bytes, target: Target, work: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise EngineError(
            f"pip is missing beside {sys.executable}, and the run image's packages cannot be "
            f"downloaded without it: install pip there (`uv tool install --with pip …`)"
        )
    pinned = work / "requirements.txt"
    pinned.write_text(without_markers(requirements.decode()))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"]
    command += [*pip_arguments(target), "--dest", str(work / "wheels"), "-r", str(pinned)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_PIP_TIMEOUT_SECONDS,
            check=False,
            env={**without_keys(os.environ), "PYTHONSAFEPATH": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"the run image's packages could not be downloaded in {_PIP_TIMEOUT_SECONDS} s: "
            f"check the network and pip's configuration"
        ) from error
    if done.returncode != 0:
        raise EngineError(
            f"the run image's packages for {_described(target)} cannot be downloaded: check the "
            f"network and pip's configuration; pip says: {_last_error(done.stderr)}"
        )


def _described(target: Target) -> str:
    return f"Python {target.python[0]}.{target.python[1]} on {target.machine}"


def _last_error(stderr: bytes) -> str:
    lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line] or lines[-1:]
    # An index's address may hold a password.
    return re.sub(r"//[^@/\s]*@", "//", one_line(" ".join(errors), 600)) or "nothing"
