"""Look for a credential in the system keyring, where the extra `keyring` is. Runs on: host."""

import importlib.util

from runner.contract.text import one_line
from runner.gateway.credential_command import CommandAnswer

SERVICE = "massgen-runner"
_REASON_CHARS = 200


def is_keyring_installed() -> bool:
    """Tell whether the extra `keyring` is installed."""
    return importlib.util.find_spec("keyring") is not None


def ask_keyring(variable: str) -> CommandAnswer:
    """Return the password of the service `massgen-runner` and the user `variable`.

    A keyring that is locked or missing has none; the reason says so.
    """
    import keyring
    from keyring.errors import NoKeyringError

    try:
        return CommandAnswer((keyring.get_password(SERVICE, variable) or "").strip())
    except NoKeyringError:
        return CommandAnswer("", "no keyring runs on this system")
    except Exception as error:  # a backend is a plug-in, anybody's
        what = one_line(str(error), _REASON_CHARS) or type(error).__name__
        return CommandAnswer("", f"the system keyring: {what}")
