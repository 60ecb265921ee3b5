"""The files by which runs and the local model's server find each other. Runs on: host.

All are in one directory that only the user can enter, so the socket needs no key.

* `start.lock`: held while somebody looks for a server or starts one.
* `server.lock`: held by the living server, which writes its process id and state into it.
* `lease`: locked shared by every run that uses the server, exclusively by a server that ends.
"""

import os
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from runner.local_model.locks import is_locked

MAX_RECORD_BYTES = 4096


class ServerFiles(NamedTuple):
    """Paths below the server's directory; nothing is read or made here."""

    directory: Path

    @property
    def socket(self) -> Path:
        # llama.cpp takes a host name with this ending as a Unix socket.
        return self.directory / "model.sock"

    @property
    def start_lock(self) -> Path:
        return self.directory / "start.lock"

    @property
    def server_lock(self) -> Path:
        return self.directory / "server.lock"

    @property
    def lease(self) -> Path:
        return self.directory / "lease"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def base_url(self) -> str:
        """The address of the API: `http+unix://<quoted path of the socket>/v1`."""
        return f"http+unix://{quote(str(self.socket), safe='')}/v1"


class ServerRecord(BaseModel):
    """What the living server says of itself in `server.lock`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    state: Literal["loading", "ready"]


def write_record(descriptor: int, record: ServerRecord) -> None:
    """Write `record` into the locked file; padded, so that a reader never sees a mixture."""
    os.pwrite(descriptor, record.model_dump_json().encode().ljust(64), 0)


def living_server(files: ServerFiles) -> ServerRecord | None:
    """Return the record of the server that holds the lock, or None where there is none.

    A server in its first instant, before it has written its record, counts as none.
    """
    if not is_locked(files.server_lock):
        return None
    try:
        with files.server_lock.open("rb") as file:
            return ServerRecord.model_validate_json(file.read(MAX_RECORD_BYTES))
    except (OSError, ValidationError):
        return None
