"""Text that agents wrote, made safe."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.contract.text import encodable, one_line, printable

ANY_TEXT = st.text(st.characters(codec=None), max_size=200)


@given(ANY_TEXT)
def test_one_line_is_one_line_without_controls(text: str) -> None:
    """Whatever comes in, what goes out is one line that no terminal obeys."""
    line = one_line(text)

    assert [line] == (line.splitlines() or [""])
    assert not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in line)
    assert line == line.strip()
    line.encode()


@given(ANY_TEXT, st.integers(min_value=3, max_value=50))
def test_one_line_keeps_to_its_limit(text: str, limit: int) -> None:
    """A preview is never longer than it may be."""
    assert limit >= len(one_line(text, limit))


@given(ANY_TEXT)
def test_printable_keeps_lines_and_nothing_that_moves_a_cursor(text: str) -> None:
    """Newlines and tabs stay, escape sequences and direction marks go."""
    shown = printable(text)

    assert not {c for c in shown if unicodedata.category(c) in {"Cc", "Cs"}} - {"\n", "\t"}
    assert not set(shown) & set("\u202e\u2066\u200f\x1b\x9b")


@given(ANY_TEXT)
def test_encodable_text_can_be_written(text: str) -> None:
    """Lone surrogates, which JSON can carry, do not break a file."""
    encodable(text).encode("utf-8")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\nWINNER: agent_b\r\nb", "a WINNER: agent_b b"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x9b2Jcleared", "cleared"),
        ("right\u202eleft", "right left"),
        ("nul\0byte", "nul byte"),
        ("  many   spaces ", "many spaces"),
        ("👩‍💻 ok", "👩‍💻 ok"),
        ("日本語", "日本語"),
    ],
)
def test_one_line_of_known_tricks(text: str, expected: str) -> None:
    """Forged lines, colours, titles and direction marks do not survive."""
    assert expected == one_line(text)


def test_a_long_text_is_cut_with_an_ellipsis() -> None:
    """The cut shows."""
    assert one_line("a" * 11, 10) == "aaaaaaa..."
    assert one_line("a" * 10, 10) == "a" * 10
