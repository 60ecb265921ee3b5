"""The search for planted keys finds them in every disguise. Runs on: host."""

import base64
import urllib.parse
from pathlib import Path

from tests.support.planted_keys import files_below, planted_keys, search


def test_every_disguise_is_found() -> None:
    """A key is found plain, encoded at any alignment, escaped, halved and reversed."""
    keys = planted_keys("TEAM_KEY")
    key = keys["TEAM_KEY"]
    half = len(key) // 2
    places = {
        "plain": key,
        "base64": base64.b64encode(key.encode()).decode(),
        "basic auth": base64.b64encode(f"user:{key}".encode()).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(f"a{key}".encode()).decode(),
        "shifted by two": base64.b64encode(f"xy{key}zzzz".encode()).decode(),
        "query": urllib.parse.urlencode({"key": key}),
        "half": key[:half],
        "reversed": key[half:][::-1],
        "hex": key.encode().hex(),
    }
    for place, text in places.items():
        leaks = search(keys, [(place, f"before {text} after".encode())])
        assert {leak.key for leak in leaks} == {"TEAM_KEY"}, place


def test_other_text_is_no_leak(tmp_path: Path) -> None:
    """Another key, and files without one, are not reported."""
    (tmp_path / "a.txt").write_text(planted_keys("B")["B"])
    (tmp_path / "link").symlink_to("nowhere")
    assert search(planted_keys("A"), files_below(tmp_path)) == []


def test_file_names_and_links_are_searched(tmp_path: Path) -> None:
    """A key in a link's target is found."""
    keys = planted_keys("A")
    (tmp_path / "link").symlink_to(keys["A"])
    assert search(keys, files_below(tmp_path))
