"""Keys that a test plants, and a search for them in every disguise. Runs on: host."""

import base64
import os
import secrets
import stat
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

MAX_FILE_BYTES = 64 * 1024 * 1024


class Leak(NamedTuple):
    key: str
    """Its name; never the key."""
    place: str
    disguise: str


def planted_keys(*names: str) -> dict[str, str]:
    """Return a random key for each name, in no provider's shape, with characters URLs escape."""
    return {name: f"planted/{secrets.token_urlsafe(24)}+{secrets.token_hex(8)}" for name in names}


def disguises(key: str) -> Iterator[tuple[str, bytes]]:
    """Yield every form in which a leaked key would be recognised."""
    raw = key.encode()
    half = len(raw) // 2
    yield "plain", raw
    yield "first half", raw[:half]
    yield "second half", raw[half:]
    yield "first half, reversed", raw[:half][::-1]
    yield "second half, reversed", raw[half:][::-1]
    yield "URL-encoded", urllib.parse.quote(key, safe="").encode()
    yield "hexadecimal", raw.hex().encode()
    for shift in range(3):
        # What a longer text's base64 contains whatever stands before and after the key.
        coded = base64.b64encode(b"\0" * shift + raw)
        inner = coded[4 if shift else 0 : -4]
        yield f"base64, {shift} shifted", inner
        yield f"base64 for URLs, {shift} shifted", inner.replace(b"+", b"-").replace(b"/", b"_")


def search(keys: Mapping[str, str], places: Iterable[tuple[str, bytes]]) -> list[Leak]:
    """Return where a key stands in `places`, pairs of a name and content."""
    forms = [(name, form, needle) for name, key in keys.items() for form, needle in disguises(key)]
    return [
        Leak(name, place, form)
        for place, content in places
        for name, form, needle in forms
        if needle in content
    ]


def files_below(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every regular file, and every name with a link's target."""
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            mode = path.lstat().st_mode
            yield f"name of {path}", os.fsencode(name)
            if stat.S_ISLNK(mode):
                yield f"target of {path}", os.fsencode(path.readlink())
            elif stat.S_ISREG(mode):
                with path.open("rb") as file:
                    yield str(path), file.read(MAX_FILE_BYTES)


def processes(pids: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    """Yield command line and environment of processes; one that is gone has neither."""
    for pid in pids:
        for part in ("cmdline", "environ"):
            try:
                yield f"/proc/{pid}/{part}", Path(f"/proc/{pid}/{part}").read_bytes()
            except OSError:
                continue
