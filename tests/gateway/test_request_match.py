"""Where a request differs from a recorded one, in words."""

from typing import Any

import pytest

from runner.gateway.request_match import difference, same

MESSAGES = {"messages": [{"content": "You are agent1.", "role": "system"}]}


@pytest.mark.parametrize(
    ("recorded", "asked", "where"),
    [
        (MESSAGES, MESSAGES, None),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, None),
        ({"a": 1}, {"a": True}, "a: true, recorded 1"),
        ({"a": 1}, {"a": 1.0}, "a: 1.0, recorded 1"),
        ({"a": None}, {}, "a: missing, recorded null"),
        ({}, {"a": []}, "a: [], not recorded"),
        ({"a": [1, 2]}, {"a": [1]}, "a: has 1 entries, recorded 2"),
        ({"a": [1, {"b": "x"}]}, {"a": [1, {"b": []}]}, "a[1].b: [], recorded 'x'"),
        ({"a": "same"}, {"a": "same."}, "a at character 5: 'same.', recorded 'same'"),
        (
            MESSAGES,
            {"messages": [{"content": "You are agent2.", "role": "system"}]},
            "messages[0].content at character 14: 'ou are agent2.', recorded 'ou are agent1.'",
        ),
        ("x", {"a": 1}, "the request: {\"a\": 1}, recorded 'x'"),
        ({"\x1b[31m": 1}, {}, ": missing, recorded 1"),
    ],
)
def test_names_the_first_place_that_differs(recorded: Any, asked: Any, where: str | None) -> None:
    """The path, the character in a text, and both values, short and printable."""
    assert difference(recorded, asked) == where
    assert same(recorded, asked) == (where is None)


def test_shows_no_more_than_a_line_of_long_texts() -> None:
    """A difference deep in a long text is shown with what stands around it."""
    old, new = "a" * 5000 + "\nold" + "b" * 5000, "a" * 5000 + "\nnew" + "b" * 5000
    said = difference({"t": old}, {"t": new})
    assert said is not None
    assert said.startswith("t at character 5002: ")
    assert len(said) < 200
