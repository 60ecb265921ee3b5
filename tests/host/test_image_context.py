"""What a run image is made of: its hash, its build context, its wheels."""

import io
import tarfile
from pathlib import Path

import pytest

from runner.config.resources import resource
from runner.errors import ConfigurationError, EngineError
from runner.host.base_image import parse_target
from runner.host.image_context import (
    ImageSource,
    content_hash,
    installed_source,
    write_context,
)
from runner.host.images import cache_directory, image_tag
from runner.host.wheels import Target, pip_arguments, without_markers
from tests.host.image_source import copied_source


def context(source: ImageSource, wheels: list[Path]) -> bytes:
    """Return the bytes of a build context."""
    stream = io.BytesIO()
    write_context(source, wheels, stream)
    return stream.getvalue()


def test_the_same_content_has_the_same_name(tmp_path: Path) -> None:
    """A copy of the source at another place, with other times, gives the same image name."""
    assert image_tag({}) == image_tag({}, copied_source(tmp_path))


@pytest.mark.parametrize(
    "edited",
    [
        "runner/contract/text.py",
        "runner/errors.py",
        "resources/Dockerfile",
        "resources/images/run/requirements.txt",
        "resources/images/base/make-debian",
    ],
)
def test_an_edit_gives_another_name(tmp_path: Path, edited: str) -> None:
    """Whatever decides what is in the image changes its name."""
    source = copied_source(tmp_path)
    before = image_tag({}, source)
    with (tmp_path / edited).open("a") as file:
        file.write("# edited\n")
    assert before != image_tag({}, source)


def test_a_new_module_gives_another_name(tmp_path: Path) -> None:
    """A file added to the container's side changes the image's name."""
    source = copied_source(tmp_path)
    before = image_tag({}, source)
    (source.package / "coordination" / "added.py").write_text("")
    assert before != image_tag({}, source)


def test_the_hosts_side_does_not_count(tmp_path: Path) -> None:
    """An edit of a module that never enters the image keeps its name."""
    source = copied_source(tmp_path)
    before = image_tag({}, source)
    with (source.package / "host" / "engine.py").open("a") as file:
        file.write("# edited\n")
    assert before == image_tag({}, source)


def test_a_chosen_base_gives_another_name() -> None:
    """MASSGEN_RUNNER_BASE_IMAGE is part of what names the image."""
    assert image_tag({}) != image_tag({"MASSGEN_RUNNER_BASE_IMAGE": "mine:1"})


def test_moved_bytes_do_not_collide(tmp_path: Path) -> None:
    """Text moved from the end of one file to the start of the next changes the hash."""
    source = copied_source(tmp_path)
    first = source.package / "contract" / "__init__.py"
    second = source.package / "contract" / "events.py"
    first.write_bytes(b"ab")
    second.write_bytes(b"c")
    before = content_hash(source, "")
    first.write_bytes(b"a")
    second.write_bytes(b"bc")
    assert before != content_hash(source, "")


def test_the_context_is_the_same_every_time(tmp_path: Path) -> None:
    """Two contexts of the same parts are equal byte for byte, with no time or owner in them."""
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    first = context(installed_source(), [wheel])
    wheel.touch()
    assert first == context(copied_source(tmp_path), [wheel])
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        members = archive.getmembers()
    assert {(0, 0, 0, "", "", 0o644)} == {
        (m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members
    }


def test_the_context_has_the_containers_side_only() -> None:
    """Host modules, bytecode and tests do not enter the build context."""
    with tarfile.open(fileobj=io.BytesIO(context(installed_source(), []))) as archive:
        names = archive.getnames()
    assert "Dockerfile" in names
    assert "src/runner/contract/status.py" in names
    tops = {name.split("/")[2].removesuffix(".py") for name in names if name.startswith("src/")}
    assert {"__init__", "errors", "contract", "coordination", "tools"} == tops
    assert not [name for name in names if name.startswith("src/") and not name.endswith(".py")]


def test_wheels_are_asked_for_the_images_python() -> None:
    """pip is asked for the image's Python and system, newest glibc first, whatever the host is."""
    arguments = pip_arguments(Target((3, 12), "aarch64", (2, 36)))
    assert "--python-version=3.12" in arguments
    assert "--abi=cp312" in arguments
    platforms = [item for item in arguments if item.startswith("--platform=")]
    assert platforms[0] == "--platform=manylinux_2_36_aarch64"
    assert "--platform=manylinux_2_17_aarch64" in platforms
    assert not [item for item in arguments if "x86_64" in item]


def test_markers_are_left_to_the_image() -> None:
    """Environment markers are cut, and pins, hashes and comments stay."""
    given = (
        "# a; b\nx==1 ; python_version < '3.13' \\\n    --hash=sha256:00\ny==2 \\\n    --hash=1\n"
    )
    expected = "# a; b\nx==1 \\\n    --hash=sha256:00\ny==2 \\\n    --hash=1\n"
    assert expected == without_markers(given)


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ('[[3, 11], "x86_64", ["", ""]]', "no glibc system"),
        ('[[3, 9], "x86_64", ["glibc", "2.31"]]', "Python 3.9"),
        ('[[3, 12], "x86_64 --index-url=http://evil", ["glibc", "2.36"]]', "no glibc"),
        ("Traceback", "no glibc"),
        ("[]", "no glibc"),
    ],
)
def test_an_unfit_base_is_refused(output: str, problem: str) -> None:
    """A base without glibc or with an old Python is named together with what is wrong."""
    with pytest.raises(EngineError, match=problem):
        parse_target("some/base:1", output)


def test_a_fit_base_is_understood() -> None:
    """The probe's answer gives Python, machine and glibc."""
    expected = Target((3, 12), "aarch64", (2, 36))
    assert expected == parse_target("base", '[[3, 12], "aarch64", ["glibc", "2.36"]]\n')


def test_the_cache_needs_no_home() -> None:
    """The cache directory follows XDG_CACHE_HOME, then HOME, then the user's entry."""
    assert Path("/c/massgen-runner") == cache_directory({"XDG_CACHE_HOME": "/c", "HOME": "/h"})
    relative = {"XDG_CACHE_HOME": "c", "HOME": "/h"}
    assert Path("/h/.cache/massgen-runner") == cache_directory(relative)
    assert cache_directory({}).is_absolute()


def test_a_missing_resource_is_named() -> None:
    """A file that the installation lacks is an error for people."""
    with pytest.raises(ConfigurationError, match="install the package again"):
        resource("no-such-file")
