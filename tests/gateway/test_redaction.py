"""Secrets in text."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.gateway.redaction import Redactor

SECRET = "planted/0123456789+secret=="


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:", "Bearer "])
@pytest.mark.parametrize("after", ["", "x", "xy", ":x"])
def test_masks_every_form_of_a_secret(before: str, after: str) -> None:
    """Plain, URL-encoded, reversed, or inside base64 at any place, a secret is masked."""
    redact = Redactor([SECRET])
    whole = f"{before}{SECRET}{after}".encode()
    for text in (
        f"{before}{SECRET}{after}",
        f"{before}{quote(SECRET, safe='')}{after}",
        f"{before}{SECRET[::-1]}{after}",
        base64.b64encode(whole).decode(),
        base64.urlsafe_b64encode(whole).decode(),
    ):
        masked = redact(f"<{text}>")
        assert "[redacted]" in masked
        assert SECRET not in masked
        # At most the two characters that depend on the neighbours are left at either end.
        assert base64.b64encode(SECRET.encode()).decode()[4:12] not in masked


def test_masks_the_longer_of_two_secrets_first() -> None:
    """A secret that begins like another leaves nothing behind."""
    redact = Redactor(["planted-one", "planted-one-and-two"])
    assert redact("x planted-one-and-two y planted-one") == "x [redacted] y [redacted]"


def test_masks_what_has_the_shape_of_a_key() -> None:
    """A key that nobody told about is recognised by its shape."""
    assert "AKIAIOSFODNN7EXAMPLE" not in Redactor([])("key AKIAIOSFODNN7EXAMPLE refused")


def test_shows_no_secret_itself() -> None:
    """The object that knows all secrets can be logged."""
    assert SECRET not in repr(Redactor([SECRET]))


@given(st.text(max_size=200))
def test_leaves_other_text_alone(text: str) -> None:
    """Text without a secret comes back as it was."""
    if not any(c.isdigit() for c in text):
        assert Redactor([SECRET])(text) == text
