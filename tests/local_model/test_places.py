"""Where weights and socket are put, and what is refused as a place for them."""

from pathlib import Path

import pytest

from runner.errors import ConfigurationError
from runner.local_model.places import cache_directory, server_directory


def test_cache_is_where_the_environment_says() -> None:
    """XDG_CACHE_HOME comes before HOME; a relative one is ignored, as its specification says."""
    assert Path("/c/massgen-runner") == cache_directory({"XDG_CACHE_HOME": "/c", "HOME": "/h"})
    home = Path("/h/.cache/massgen-runner")
    assert home == cache_directory({"XDG_CACHE_HOME": "c", "HOME": "/h"})


def test_no_home_is_a_clear_error() -> None:
    """Without HOME and XDG_CACHE_HOME the error names both."""
    with pytest.raises(ConfigurationError, match=r"set HOME, or XDG_CACHE_HOME"):
        cache_directory({})


def test_server_directory_is_private(tmp_path: Path) -> None:
    """The directory of the socket is made for its user only."""
    directory = server_directory({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert directory.stat().st_mode & 0o777 == 0o700


def test_long_runtime_directory_gets_a_short_one_of_its_own(tmp_path: Path) -> None:
    """Paths too long for a Unix socket map to short ones, different for different directories."""
    long = tmp_path / ("x" * 90)
    other = tmp_path / ("y" * 90)
    for directory in (long, other):
        directory.mkdir()
    short = server_directory({"XDG_RUNTIME_DIR": str(long)})
    try:
        assert len(str(short)) <= 80
        assert short == server_directory({"XDG_RUNTIME_DIR": str(long)})
        assert short != server_directory({"XDG_RUNTIME_DIR": str(other)})
    finally:
        short.rmdir()
        server_directory({"XDG_RUNTIME_DIR": str(other)}).rmdir()


@pytest.mark.parametrize("kind", ["open", "link", "file"])
def test_directory_that_others_could_use_is_refused(tmp_path: Path, kind: str) -> None:
    """A directory open to others, a link and a file in its place are errors with a remedy."""
    place = tmp_path / "massgen-runner"
    if kind == "open":
        place.mkdir(mode=0o755)
    elif kind == "link":
        place.symlink_to(tmp_path)
    else:
        place.write_text("")
    with pytest.raises(ConfigurationError, match="XDG_RUNTIME_DIR"):
        server_directory({"XDG_RUNTIME_DIR": str(tmp_path)})
