"""Which of the user's files agents see, and what is hidden in them."""

from pathlib import Path

import pytest

from runner.config.context_paths import ContextPath
from runner.errors import ConfigurationError
from runner.host.shared_paths import SharedPath, shared_paths


def shared(cwd: Path, *paths: str, socket: Path | None = None) -> tuple[SharedPath, ...]:
    wanted = [ContextPath(path=path) for path in paths]
    return shared_paths(
        wanted,
        cwd=cwd,
        store=cwd / ".massgen",
        secret_files=[cwd / ".env", cwd / "absent"],
        engine_socket=socket,
    )


def test_a_directory_is_seen_where_it_is(tmp_path: Path) -> None:
    """A relative path is one of the working directory, and is mounted at its absolute path."""
    (tmp_path / "docs").mkdir()
    [found] = shared(tmp_path, "./docs/")
    assert found.target == found.source == tmp_path / "docs"


def test_a_link_is_followed_once(tmp_path: Path) -> None:
    """A path that is a link is seen under its own name, and holds what the link leads to."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    [found] = shared(tmp_path, "link")
    assert (found.target, found.source) == (tmp_path / "link", tmp_path / "real")


def test_the_working_directory_hides_what_is_not_the_agents(tmp_path: Path) -> None:
    """The runner's directory and the files with credentials are hidden, under every name."""
    work = tmp_path / "work"
    (work / ".massgen").mkdir(parents=True)
    (work / ".env").write_text("KEY=x")
    (tmp_path / "other").symlink_to("work")
    for name in (".", "../other", ".."):
        [found] = shared(work, name)
        base = found.target / "work" if name == ".." else found.target
        assert found.hidden_directories == (base / ".massgen",)
        assert found.hidden_files == (base / ".env",)


@pytest.mark.parametrize("path", ["absent", "/", "/proc", "/sys/kernel", "/dev", ".massgen/runs"])
def test_what_no_agent_may_have(path: str, tmp_path: Path) -> None:
    """What is missing, the system's or the runner's own is refused by name, with a remedy."""
    (tmp_path / ".massgen" / "runs").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"orchestrator\.context_paths\.0\.path: .*: "):
        shared(tmp_path, path)


def test_a_directory_with_the_engines_socket(tmp_path: Path) -> None:
    """Whoever reaches the engine's socket is root: no directory that holds it is shared."""
    with pytest.raises(ConfigurationError, match="container engine's socket"):
        shared(tmp_path, ".", socket=tmp_path / "engine.sock")


def test_overlapping_paths(tmp_path: Path) -> None:
    """Two paths of which one lies in the other are refused."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"1\.path: .*keep one of the two"):
        shared(tmp_path, "a", "a/b")
