"""A system keyring in a file, for the `keyring` library: PYTHON_KEYRING_BACKEND names it.

Runs on: host.
"""

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.compat import properties
from keyring.errors import KeyringLocked

FILE_VARIABLE = "TEST_KEYRING_FILE"
BACKEND = "tests.support.file_keyring.FileKeyring"


class FileKeyring(KeyringBackend):
    """Reads `{service: {user: password}}`; a file that is missing is a locked keyring."""

    @properties.classproperty
    def priority(cls) -> float:
        return 0.1

    def get_password(self, service: str, username: str) -> str | None:
        path = Path(os.environ[FILE_VARIABLE])
        if not path.exists():
            raise KeyringLocked("the collection is locked")
        passwords: dict[str, str] = json.loads(path.read_text()).get(service, {})
        return passwords.get(username)

    def set_password(self, *_: object) -> None:
        raise AssertionError("the runner writes nothing into a keyring")
