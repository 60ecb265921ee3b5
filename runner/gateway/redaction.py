"""Mask secrets in text that leaves the gateway. Runs on: host.

A provider may repeat the key in its error message: what it says is masked before anyone sees it.
"""

import base64
from collections.abc import Iterable
from urllib.parse import quote

from runner.config.secrets import REDACTED, redact

_MIN_PLAIN = 4
_MIN_ENCODED = 8


class Redactor:
    """Masks known secrets, plain and encoded, and whatever has the shape of a key."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: list[str] = []
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these too from now on."""
        forms = {*self._forms, *(form for secret in secrets for form in _forms(secret))}
        # Longest first, so that no part of a longer secret stays behind a shorter one.
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return `text` with every secret replaced by a mask."""
        return redact(self.without_known(text))

    def without_known(self, text: str) -> str:
        """Return `text` with the secrets masked that were learned, and no others."""
        for form in self._forms:
            text = text.replace(form, REDACTED)
        return text

    def __repr__(self) -> str:
        return f"Redactor({len(self._forms)} forms)"


def _forms(secret: str) -> Iterable[str]:
    if len(secret) >= _MIN_PLAIN:
        yield secret
        yield quote(secret, safe="")
        yield quote(secret)
    if len(secret) >= _MIN_ENCODED:
        yield secret[::-1]
        yield from _base64_forms(secret.encode())


def _base64_forms(secret: bytes) -> Iterable[str]:
    """Yield what base64 makes of the secret at each of the three places it can start at.

    The characters at either end that depend on the neighbours are left out.
    """
    for offset, skipped in ((0, 0), (1, 2), (2, 3)):
        padded = b"\0" * offset + secret
        whole = len(padded) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(padded).decode()[skipped:whole]
