"""What the documentation says is so: links, configurations, commands, words."""

import re
import shlex
from pathlib import Path

import click
import pytest

from runner.cli.group import massgen_runner
from runner.cli.massgen import massgen
from runner.config.load import load_config
from tests.docs.pages import (
    ROOT,
    Block,
    blocks,
    commands,
    links,
    name_of,
    pages,
    tracked,
)

CONFIGURATIONS = [b for b in blocks("yaml") if re.search(r"^agents?:", b.text, re.MULTILINE)]
PYTHON = blocks("python")
WORDS_OF_A_SHELL = re.compile(r" *(?:[|;&>]|\d>|#).*$")
FORBIDDEN = re.compile(
    r"ghcr[.]io|quay[.]io|pypi[.]org|registry[.]npmjs[.]org|files[.]pythonhosted[.]org"
    r"|deb[.]debian[.]org|docker[.]io/\w"  # docker.io alone is the name of a Debian package
)


def _block_name(block: Block) -> str:
    return f"{block.page}: {block.text.splitlines()[0]}"


@pytest.mark.parametrize("path", pages(), ids=name_of)
def test_links(path: Path) -> None:
    """Every link to a file of the project leads to one."""
    broken = [link for link in links(path) if not (path.parent / link).exists()]
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    """docs/README.md leads to every page of the documentation."""
    index = ROOT / "docs" / "README.md"
    reached = {(index.parent / link).resolve() for link in links(index)}
    missing = [name_of(page) for page in tracked("docs/*.md") if page not in {*reached, index}]
    assert missing == []


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=_block_name)
def test_configurations(block: Block, tmp_path: Path) -> None:
    """Every configuration in the documentation is valid, without warnings about its keys."""
    path = tmp_path / "config.yaml"
    path.write_text(block.text)
    load_config(str(path), [], cwd=tmp_path)


@pytest.mark.parametrize("block", PYTHON, ids=_block_name)
def test_python(block: Block) -> None:
    """Every Python example is Python."""
    compile(block.text, block.page, "exec")


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands(page: str, line: str) -> None:
    """Every command in the documentation exists, with its subcommands and options."""
    words = shlex.split(WORDS_OF_A_SHELL.sub("", line.replace("…", "x")), comments=True)
    command: click.Command = {"massgen": massgen, "massgen-runner": massgen_runner}[words[0]]
    rest = words[1:]
    context = click.Context(command, info_name=words[0])
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        assert found is not None, f"{page}: no command {rest[0]}"
        command, rest = found, rest[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    known = {option for p in command.params if isinstance(p, click.Option) for option in p.opts}
    known |= {"--help", "-h"} if "-h" in context.help_option_names or words[1:] else {"--help"}
    before_end = rest[: rest.index("--")] if "--" in rest else rest
    given = {word.partition("=")[0] for word in before_end if re.match(r"--?[a-z]", word)}
    assert given <= known, f"{page}: {given - known}"


def _all_commands() -> list[str]:
    context = click.Context(massgen_runner)
    return [f"massgen-runner {name}" for name in massgen_runner.list_commands(context)]


@pytest.mark.parametrize("command", ["massgen", *_all_commands()])
def test_every_command_is_documented(command: str) -> None:
    """Every command is in the list of commands."""
    text = (ROOT / "docs" / "reference" / "commands.md").read_text()
    assert f"`{command}" in text


def test_every_option_of_a_run_is_documented() -> None:
    """Every option of `massgen` is in the list of commands."""
    text = (ROOT / "docs" / "reference" / "commands.md").read_text()
    options = [o for p in massgen.params if isinstance(p, click.Option) for o in p.opts]
    assert [o for o in options if o not in text and o != "--version"] == []


def test_changelog() -> None:
    """The changelog has a section for what is not released yet."""
    text = (ROOT / "CHANGELOG.md").read_text()
    unreleased = text.partition("\n## Unreleased\n")[2].partition("\n## ")[0]
    assert unreleased.count("\n- ") > 0


def test_decisions_have_their_parts() -> None:
    """Every decision tells its context, its choice and its consequence, on half a page."""
    for path in tracked("docs/decisions/*.md"):
        text = path.read_text()
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name), path.name
        for part in ("**Context.**", "**Choice", "**Consequence.**"):
            assert part in text, f"{path.name} lacks {part}"


def test_no_registry_by_name() -> None:
    """Nothing names a registry: where packages and images come from is the machine's setting."""
    found = [
        f"{name_of(path)}: {word}"
        for path in tracked()
        if path.suffix not in {".png", ".svg"}
        for word in FORBIDDEN.findall(path.read_text(errors="replace"))
    ]
    assert found == []


def test_picture_needs_nothing_from_elsewhere() -> None:
    """The recorded picture loads no font and no script."""
    text = (ROOT / "docs" / "images" / "run.svg").read_text()
    assert "<script" not in text
    assert set(re.findall(r"https?://[^\"' )]+", text)) == {"http://www.w3.org/2000/svg"}
