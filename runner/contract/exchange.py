"""Put a directory in another one's place, so that a reader sees one or the other.

Runs on: both sides.
"""

import ctypes
import errno
import os
import secrets
from contextlib import suppress

_RENAME_EXCHANGE = 2
_CANNOT = frozenset({errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP})


def put_in_place(parent: int, new: str, name: str) -> str | None:
    """Give the directory `new` the name `name`; both are in the open directory `parent`.

    Return the name under which the directory that was there is found now, None if none was. Where
    the file system cannot exchange two names there is an instant with neither. Raises OSError.
    """
    try:
        _exchange(parent, new, name)
    except FileNotFoundError:
        os.rename(new, name, src_dir_fd=parent, dst_dir_fd=parent)
        return None
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return _in_two_steps(parent, new, name)
    return new


def _exchange(parent: int, new: str, name: str) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    arguments = (parent, os.fsencode(new), parent, os.fsencode(name), _RENAME_EXCHANGE)
    if library.renameat2(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _in_two_steps(parent: int, new: str, name: str) -> str:
    aside = f".old-{secrets.token_hex(4)}"
    os.rename(name, aside, src_dir_fd=parent, dst_dir_fd=parent)
    try:
        os.rename(new, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with suppress(OSError):
            os.rename(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
        raise
    return aside
