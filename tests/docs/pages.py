"""The project's Markdown pages, taken apart. Runs on: host."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(massgen(?:-runner)? [^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"^(?:\$ )?(?:\S*/)?(massgen(?:-runner)?(?: .*)?)$")
_SHELL = frozenset({"sh", "bash", "fish", "zsh", "console"})


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    language: str
    text: str


def tracked(*patterns: str) -> list[Path]:
    """Return the files under version control that match."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = (ROOT / name for name in listed.split("\0") if name)
    return [path for path in paths if path.is_file()]


def pages() -> list[Path]:
    """Return all Markdown pages."""
    return tracked("*.md")


def name_of(path: Path) -> str:
    """Return a path as it is called in the project."""
    return str(path.relative_to(ROOT))


def blocks(*languages: str) -> list[Block]:
    """Return the fenced blocks in these languages, of all pages."""
    return [
        Block(name_of(path), found[2], found[3])
        for path in pages()
        for found in _BLOCK.finditer(path.read_text())
        if found[2] in languages
    ]


def commands() -> list[tuple[str, str]]:
    """Return every `massgen` command line of the pages, with the page's name."""
    return sorted({(name_of(path), line) for path in pages() for line in _commands_of(path)})


def _commands_of(path: Path) -> Iterator[str]:
    text = path.read_text()
    for found in _BLOCK.finditer(text):
        if found[2] in _SHELL:
            for line in found[3].splitlines():
                if command := _COMMAND.match(line.strip()):
                    yield command[1]
    for inline in _INLINE.finditer(_BLOCK.sub("", text)):
        yield inline[1]


def links(path: Path) -> list[str]:
    """Return the links of a page that lead to a file of the project."""
    text = _BLOCK.sub("", path.read_text())
    found = (link.partition("#")[0] for link in _LINK.findall(text))
    return [link for link in found if link and "://" not in link]
