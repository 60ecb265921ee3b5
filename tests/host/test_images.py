"""The run image, built by the real engine."""

import io
import json
import os
import secrets
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from runner.cli.image import image as image_command
from runner.errors import EngineError
from runner.host.base_image import BASE_VARIABLE, debian_base_tag, ensure_base
from runner.host.engine import Engine, ImageSummary, connect
from runner.host.image_context import BASE_RECIPE, DOCKERFILE, ImageSource, installed_source
from runner.host.images import ensure_image, image_tag, list_images, outdated, own_name
from tests.host.containers import Containers
from tests.host.image_source import copied_source

pytestmark = pytest.mark.docker
PYTHON = "/opt/runner/venv/bin/python"


@pytest.fixture
def edited(engine: Engine, tmp_path: Path) -> Iterator[ImageSource]:
    """A source that nobody else has; what is built from it is removed after the test."""
    source = copied_source(tmp_path)
    with (source.package / "errors.py").open("a") as file:
        file.write(f"# {secrets.token_hex(8)}\n")
    yield source
    engine.remove_image(image_tag(os.environ, source))


def layers(engine: Engine, reference: str) -> list[str]:
    """Return the layers of an image, lowest first."""
    details = engine.image_details(reference)
    assert details is not None
    return list(details["RootFS"]["Layers"])


def build_stages(engine: Engine) -> set[str]:
    """Return the ids of the kept build stages."""
    return {item.id for item in engine.list_images({"dev.runner.image": "build"})}


def test_an_unchanged_image_is_not_built_again(engine: Engine, image: str) -> None:
    """With the image there, nothing is done and nothing is said."""
    said: list[str] = []
    before = engine.image_id(image)
    assert image == ensure_image(engine, said.append)
    assert before == engine.image_id(image)
    assert not said


def test_an_edit_builds_the_source_only(
    engine: Engine, image: str, edited: ImageSource, containers: Containers
) -> None:
    """An edited source gets an image of its own that shares all layers but the source's."""
    built = ensure_image(engine, print, os.environ, edited)
    assert built != image
    assert layers(engine, image)[:-2] == layers(engine, built)[:-2]
    containers.image = built
    code, source = containers.run("cat", "/opt/runner/src/runner/errors.py")
    assert code == 0
    assert (edited.package / "errors.py").read_text() == source


def test_concurrent_first_runs_build_once(image: str, edited: ImageSource) -> None:
    """Of several that need a missing image at once, one builds it and the others wait."""
    said: list[str] = []

    def first_run(_: int) -> str:
        with connect(os.environ) as own:
            return ensure_image(own, said.append, os.environ, edited)

    with ThreadPoolExecutor(4) as pool:
        tags = set(pool.map(first_run, range(4)))
    assert {image_tag(os.environ, edited)} == tags
    assert len([line for line in said if line.startswith("building the run image")]) == 1


def test_the_image_is_small_and_not_roots(engine: Engine, image: str) -> None:
    """The image stays under 350 MB, has a user other than root, and our labels."""
    (found,) = [item for item in list_images(engine) if image in map(own_name, item.tags)]
    assert found.size_bytes < 350e6
    assert found.labels["dev.runner.image"] == "run"
    assert found.labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert found.labels["org.opencontainers.image.version"]
    details = engine.image_details(image)
    assert details is not None
    assert details["Config"]["User"] == "65532:65532"
    assert details["Config"]["Entrypoint"][-2:] == ["-m", "runner.coordination"]


def test_nothing_of_the_host_is_in_the_image(engine: Engine, image: str) -> None:
    """Neither the environment nor the labels of the image carry anything of this machine."""
    details = engine.image_details(image)
    assert details is not None
    names = {item.partition("=")[0] for item in details["Config"]["Env"]}
    assert {"LANG", "HOME"} <= names
    assert not [name for name in names if "proxy" in name.lower() or "key" in name.lower()]
    allowed = ("dev.runner.image", "org.opencontainers.image.", "io.buildah.version")
    assert all(name.startswith(allowed) for name in details["Config"]["Labels"])


def test_the_image_works_hardened(containers: Containers) -> None:
    """Without network, capabilities and a writable file system the packages import."""
    script = "import aiohttp, pydantic, runner.coordination, os; print(os.getuid())"
    code, output = containers.run(
        *(PYTHON, "-P", "-B", "-c", script),
        ReadonlyRootfs=True,
        CapDrop=["ALL"],
        SecurityOpt=["no-new-privileges"],
    )
    assert (code, output) == (0, "65532\n")


def test_the_image_has_the_containers_side_only(containers: Containers) -> None:
    """Host modules, pip and build leftovers are not in the image."""
    search = "find /opt/runner -name pip -o -name 'pip-*'"
    look = f"ls /opt/runner/src/runner; test -e /build || echo /none; {search}"
    _, output = containers.run("sh", "-c", look)
    names = {line for line in output.splitlines() if "/" not in line}
    packages = {"contract", "coordination", "tools"}
    assert {"__init__.py", "__pycache__", "errors.py", *packages} == names
    assert [line for line in output.splitlines() if "/" in line] == ["/none"]


def test_all_bytecode_is_in_the_image(containers: Containers) -> None:
    """No module has to be compiled at start: each has its bytecode, which needs no look at it."""
    script = (
        "import importlib.util, pathlib, sys\n"
        "import asyncio, aiohttp, pydantic, runner.contract.status, runner.coordination\n"
        "files = [m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)]\n"
        "sources = [f for f in files if f.endswith('.py')]\n"
        "missing = [f for f in sources if not\n"
        "           pathlib.Path(importlib.util.cache_from_source(f)).exists()]\n"
        "print(len(sources) > 100, missing)\n"
    )
    assert containers.run(PYTHON, "-c", script) == (0, "True []\n")


def test_a_working_directory_cannot_replace_a_module(containers: Containers) -> None:
    """A module that agents put where the program starts is not imported by it."""
    script = (
        "cd /tmp; mkdir runner; echo 'print(\"taken over\")' | tee pydantic.py > runner/__init__.py"
    )
    start = f"{script}; exec {PYTHON} -P -B -m runner.contract.status; echo $?"
    code, output = containers.run("sh", "-c", start)
    assert (code, output) == (0, "")


def test_a_failing_step_is_explained(engine: Engine, edited: ImageSource) -> None:
    """A build that fails says which step and what it printed."""
    with (edited.resources / DOCKERFILE).open("a") as file:
        file.write("RUN echo the reason && exit 9\n")
    with pytest.raises(EngineError, match=r"cannot be built.*9.*the reason"):
        ensure_image(engine, print, os.environ, edited)


def test_a_base_that_cannot_be_pulled_is_named(engine: Engine, edited: ImageSource) -> None:
    """A chosen base that the engine neither has nor can pull is named with its variable."""
    environ = {**os.environ, BASE_VARIABLE: "localhost:1/none:1"}
    with pytest.raises(EngineError, match=f"{BASE_VARIABLE}: image localhost:1/none:1"):
        ensure_image(engine, print, environ, edited)


def test_a_base_without_python_is_refused(engine: Engine, image: str, tmp_path: Path) -> None:
    """A chosen base that has no Python is named as such."""
    archive = tmp_path / "empty.tar"
    archive.write_bytes(b"\0" * 10240)
    name = f"runner-test/empty:{secrets.token_hex(4)}"
    engine.import_image(str(archive), name)
    try:
        with pytest.raises(EngineError, match=f"{name} cannot start python3"):
            ensure_base(engine, installed_source(), name, print)
    finally:
        engine.remove_image(name)


@pytest.mark.slow
def test_a_machine_with_nothing_gets_base_and_image(
    engine: Engine, edited: ImageSource, tmp_path: Path
) -> None:
    """Where nothing can be pulled and nothing is cached, base, wheels and image are made."""
    dockerfile = edited.resources / DOCKERFILE
    default = installed_source().default_base
    dockerfile.write_text(dockerfile.read_text().replace(default, "localhost:1/none:1"))
    with (edited.resources / BASE_RECIPE).open("a") as file:
        file.write(f"# {secrets.token_hex(8)}\n")
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    said: list[str] = []
    stages = build_stages(engine)
    left = set(Path("/var/tmp").glob("massgen-runner-base-*"))
    try:
        tag = ensure_image(engine, said.append, environ, edited)
        assert engine.has_image(tag)
        assert engine.has_image(debian_base_tag(edited))
    finally:
        engine.remove_image(image_tag(environ, edited))
        for made in build_stages(engine) - stages:
            engine.remove_image(made)
        engine.remove_image(debian_base_tag(edited))
    assert [line for line in said if "making the base image from Debian packages" in line]
    assert [line for line in said if line.startswith("downloading")]
    assert set(Path("/var/tmp").glob("massgen-runner-base-*")) <= left


def test_a_clean_up_keeps_what_is_current() -> None:
    """Old run images, bases and build stages go; current ones and the newest stage stay."""

    def summary(kind: str, name: str, *tags: str) -> ImageSummary:
        return ImageSummary(name, tags, {"dev.runner.image": kind}, 1, 1)

    images = [
        summary("run", "a", "massgen-runner/run:new"),
        summary("build", "b"),
        summary("run", "c", "localhost/massgen-runner/run:old", "massgen-runner/run:older"),
        summary("build", "d"),
        summary("base", "e", "localhost/massgen-runner/base:new"),
        summary("base", "f"),
        summary("run", "g", "massgen-runner/run:kept", "theirs:1"),
    ]
    current = {"massgen-runner/run:new", "massgen-runner/base:new"}
    expected = ["localhost/massgen-runner/run:old", "massgen-runner/run:older", "d", "f"]
    expected.append("massgen-runner/run:kept")
    assert expected == outdated(images, current)


def test_an_image_built_on_ours_by_somebody_is_not_ours(engine: Engine, image: str) -> None:
    """An image with a name of its own is not listed, although it inherited our label."""
    name = f"runner-test/mine:{secrets.token_hex(4)}"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        dockerfile = f"FROM {image}\nLABEL mine=1\n".encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile))
    context.seek(0)
    made = engine.build(context, name, build_arguments={}, labels={}, progress=print)
    try:
        assert made in {item.id for item in engine.list_images({"dev.runner.image": "run"})}
        assert made not in {item.id for item in list_images(engine)}
    finally:
        engine.remove_image(name)


def test_the_commands_speak_json(image: str) -> None:
    """`image build` and `image ls` print JSON that names the image of today."""
    built = CliRunner().invoke(image_command, ["build", "--json"])
    assert built.exit_code == 0, built.output
    answer = json.loads(built.stdout)
    assert (image, False) == (answer["image"], answer["built"])
    listed = json.loads(CliRunner().invoke(image_command, ["ls", "--json"]).stdout)
    assert [image] == [tag for row in listed if row["current"] for tag in row["tags"]]


def test_the_commands_speak_to_people(image: str) -> None:
    """Without --json the image's name is printed, and the list marks it."""
    assert f"{image}\n" == CliRunner().invoke(image_command, ["build"]).stdout
    listed = CliRunner().invoke(image_command, ["ls"]).stdout
    assert [line for line in listed.splitlines() if line.startswith("* run") and image in line]


@pytest.mark.parametrize("command", ["build", "ls", "prune"])
def test_each_command_has_help_with_an_example(command: str) -> None:
    """`--help` of each command shows how it is used."""
    helped = CliRunner().invoke(image_command, [command, "--help"])
    assert f"Example: massgen-runner image {command}" in helped.stdout
