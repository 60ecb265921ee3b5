"""What all runs of a user may use on one day, without anybody who watches over it. Runs on: host.

A run takes its share of the day when it starts and gives back at its end what it did not use. The
shares of a day are in one small file, changed under a lock and replaced as a whole. A run whose
process was killed gave nothing back: whoever comes next reads its ledger, in which calls that were
under way count with what was set aside for them. A run belongs to the day on which it started.
"""

import datetime as dt
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runner.contract.files import atomic_write, read_bytes
from runner.errors import ConfigurationError
from runner.gateway.budget import Amount, Limits, Unit, picousd, words
from runner.gateway.ledger import read_ledger
from runner.host.run_store import RunDirectory

MAX_FILE_BYTES = 64 * 1024 * 1024
_LOCK = "lock"
_Whole = Annotated[int, Field(ge=0)]


class Share(BaseModel):
    """What one run took of a day, in picodollars, tokens and calls."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    directory: str
    """The run's own; its ledger is there."""
    taken: tuple[_Whole, _Whole, _Whole]
    used: tuple[_Whole, _Whole, _Whole] | None = None
    """None: the run has not ended, as far as is known."""


class Shares(BaseModel):
    """The file of one day."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = 1
    shares: dict[str, Share] = {}


class DayBudget:
    """The budget of one day, kept in `directory`, which is made where it is missing."""

    def __init__(self, directory: Path, day: dt.date, limits: Limits, named: str) -> None:
        self._directory = directory
        self._file = directory / f"{day.isoformat()}.json"
        self._limits = limits
        self._named = named
        """Where the limits stand, for messages."""

    def left(self) -> Limits:
        """Return what is left now. Raises ConfigurationError where nothing is."""
        with self._locked():
            return self._left(self._settled(self._read()))

    @contextmanager
    def share(self, run: RunDirectory, wanted: Limits) -> Iterator[Limits]:
        """Yield what a run may use: what it wants, at most what is left of the day.

        Raises ConfigurationError where nothing is left.
        """
        with self._locked():
            shares = self._settled(self._read())
            granted = wanted.lower(self._left(shares))
            taken = tuple(value or 0 for value in granted)
            mine = Share(directory=str(run.root), taken=taken)
            self._write(shares | {run.run_id: mine})
        try:
            yield granted
        finally:
            # What cannot be written now is found in the ledger by the next run.
            with suppress(OSError, ConfigurationError), self._locked():
                settled = mine.model_copy(update={"used": _used(run)})
                self._write(self._read() | {run.run_id: settled})

    def _left(self, shares: Mapping[str, Share]) -> Limits:
        used = Amount()
        for share in shares.values():
            used = used.plus(Amount(*(share.taken if share.used is None else share.used)))
        left = Limits(
            *(
                None if limit is None else max(0, limit - have)
                for limit, have in zip(self._limits, used, strict=True)
            )
        )
        for unit, value in left.items():
            if value == 0:
                raise ConfigurationError(self._refusal(unit, used, shares))
        return left

    def _refusal(self, unit: Unit, used: Amount, shares: Mapping[str, Share]) -> str:
        running = sum(share.used is None for share in shares.values())
        under_way = f", with {running} under way" if running else ""
        have, limit = used.of(unit), self._limits.of(unit) or 0
        return (
            f"{self._named}: per_day: today's budget is used up: {words(unit, have)} of "
            f"{words(unit, limit)} taken by {len(shares)} runs{under_way}: raise it, or go on "
            "tomorrow; per_run keeps one run from taking all that is left"
        )

    def _settled(self, shares: Mapping[str, Share]) -> dict[str, Share]:
        """Return the shares, those of runs that were killed with what their ledgers say."""
        settled = dict(shares)
        for run_id, share in shares.items():
            run = RunDirectory(Path(share.directory))
            if share.used is None and run.root.is_dir() and not run.has_supervisor():
                settled[run_id] = share.model_copy(update={"used": _used(run)})
        return settled

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._directory / _LOCK, flags, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"{self._directory}: the day's budget cannot be kept there ({error.strerror}): "
                f"make it writable, or take per_day out of {self._named}"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> dict[str, Share]:
        try:
            content = read_bytes(self._directory, self._file.name, MAX_FILE_BYTES)
            return Shares.model_validate_json(content).shares
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            raise ConfigurationError(
                f"{self._file}: cannot be read as what was used today: remove it, and today's "
                "budget begins anew"
            ) from error

    def _write(self, shares: dict[str, Share]) -> None:
        try:
            text = Shares(shares=shares).model_dump_json(indent=1)
            atomic_write(self._file, text, durable=True)
        except OSError as error:
            raise ConfigurationError(
                f"{self._file}: cannot be written ({error.strerror}): make room for it"
            ) from error


def state_directory(environ: Mapping[str, str]) -> Path | None:
    """Return where days are kept: `~/.local/state/massgen/days`, or below XDG_STATE_HOME."""
    state_home = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state_home):  # the XDG specification: a relative path is ignored
        home = environ.get("HOME", "")
        if not os.path.isabs(home):
            return None
        state_home = f"{home}/.local/state"
    return Path(state_home) / "massgen" / "days"


def _used(run: RunDirectory) -> tuple[int, int, int]:
    """Return what a run's ledger counts, open calls with what was set aside for them."""
    used = Amount()
    for call in read_ledger(run.ledger).calls:
        tokens = call.input_tokens + call.output_tokens
        used = used.plus(Amount(picousd(call.cost_usd or 0.0), tokens, 1))
    return used
