"""Files that are no configuration, or only just: a clear error or the right result."""

import json
import os
import socket
from pathlib import Path

import pytest

from runner.config.source import MAX_BYTES
from runner.errors import ConfigurationError
from tests.config.loading import MINIMAL, agent, load, problems

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "c.yaml: is empty"),
        (b"# nothing\n", "c.yaml: is empty"),
        (b"- a\n", "c.yaml:1: is a list, not a mapping"),
        (b"hello\n", "c.yaml:1: is a single value, not a mapping"),
        (MINIMAL.encode() + b"---\na: 1\n", "c.yaml:4: a second document begins"),
        (b"a: 1\nb: \xff\n", "c.yaml:2: byte 0xff is no UTF-8: save the file as UTF-8"),
        ("a: 1\nb: caf\u00e9\n".encode("latin-1"), "c.yaml:2: byte 0xe9 is no UTF-8"),
        (MINIMAL.encode("utf-16"), "c.yaml:1: is UTF-16: save it as UTF-8"),
        (b"a: 1\nb: x\0y\n", "c.yaml:2: the control character U+0000 is not allowed"),
        (b"a: \x1b[31m\n", "c.yaml:1: the control character U+001B is not allowed"),
        (b"agents:\n\t- id: a\n", "c.yaml:2: is no valid YAML"),
        (b"a: b: c\n", "put a text with"),
        (b"a: [1, 2\n", "is no valid YAML"),
        (b"a: 'x\n", "is no valid YAML"),
        (b"a: *b\n", "c.yaml:1: an alias has no anchor before it"),
        (b"a: &b [*b]\n", "c.yaml:1: an alias stands inside of what it repeats"),
        (b"a: !!python/object:os.system x\n", "is not allowed: write the plain value"),
        (b"a: !mine {b: 1}\n", "the tag !mine is not allowed"),
        (b"a: !!binary aGk=\n", "is not allowed"),
        (b"a: !!int x\n", "is tagged as a number, and is none"),
        (b"1: 2\n", 'the key 1 is not text: write "1" in quotes'),
        (b"on: 2\n", 'the key on is not text: write "on" in quotes'),
        (b"? [a]\n: 2\n", "the key is not text"),
        (b"<<: 3\n", "<<: takes a mapping"),
        (b'{"a": "\\ud800"}', "c.yaml"),
        (b"[" * 100_000, "is nested too deeply (allowed: 32 levels)"),
        (b"{a: " * 100_000, "is nested too deeply"),
        (b"- " * 100_000, "is nested too deeply"),
        (b"a: [" + b"1," * 30_000 + b"]", "has too many values (allowed: 20,000)"),
        (b"a: " + b"9" * 10_000, "the number has too many digits"),
        (b"x" * (MAX_BYTES + 1), "has 1,048,577 bytes (allowed: 1,048,576)"),
    ],
)
def test_refused(content: bytes, says: str, tmp_path: Path) -> None:
    """What is no configuration is refused with its line, and with nothing else."""
    found = problems(tmp_path, content)
    assert says in found[0]
    assert len("".join(found)) < 1000


def test_duplicate_keys(tmp_path: Path) -> None:
    """A key that stands twice is an error that names both lines."""
    text = "agents:\n  - id: a\n    id: b\n    backend: {type: openai, model: m}\nui: {}\nui: {}\n"
    assert problems(tmp_path, text) == [
        "c.yaml:3: agents.0.id: stands twice, first in line 2: take one out",
        "c.yaml:6: ui: stands twice, first in line 5: take one out",
    ]


def test_many_problems(tmp_path: Path) -> None:
    """Of thousands of problems the first hundred are shown, and how many there are besides."""
    found = problems(tmp_path, "a: 1\n" * 5_000)
    assert len(found) == 101
    assert found[-1] == "c.yaml: 4,899 more problems: mend these first"


def test_alias_bomb(tmp_path: Path) -> None:
    """Aliases that expand to billions of values are refused at once."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    (problem,) = problems(tmp_path, "\n".join(lines))
    assert "aliases expand to too much (allowed: 20,000 values, 32 levels)" in problem


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    """Anchors, aliases and merge keys work, and an explicit key wins."""
    text = """\
agents:
  - id: a
    backend: &base {type: openai, model: m, temperature: 0.5}
  - id: b
    backend:
      <<: *base
      model: n
  - {id: c, backend: *base}
"""
    a, b, c = load(tmp_path, text).config.agents
    assert (b.backend.model, b.backend.temperature) == ("n", 0.5)
    assert c.backend == a.backend


def test_problem_in_an_alias_names_a_line(tmp_path: Path) -> None:
    """A wrong value that was merged in is reported where it is written."""
    text = agent("type: openai, model: m, temperature: &t hot")
    text += "  - id: b\n    backend: {type: openai, model: m, top_p: *t}\n"
    assert [line[:8] for line in problems(tmp_path, text)] == ["c.yaml:3", "c.yaml:5"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", BOM])
def test_line_ends_and_byte_order_mark(end: str, mark: bytes, tmp_path: Path) -> None:
    """CRLF and a byte order mark change nothing, line numbers included."""
    text = MINIMAL + "uy: {}\n"
    (problem,) = problems(tmp_path, mark + text.replace("\n", end).encode())
    assert problem.startswith("c.yaml:4: uy: is not a known key: did you mean 'ui'?")


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json(indent: int | str | None, tmp_path: Path) -> None:
    """A JSON file is a configuration, whatever its indentation and its escapes."""
    backend = {"type": "openai", "model": "a/b", "temperature": 1e-1, "top_p": 1e0}
    data = {"agents": [{"id": "a", "system_message": "😀 \\ud83d", "backend": backend}]}
    text = json.dumps(data, indent=indent).replace('"top_p": 1.0', '"top_p": 1e0')
    for escaped in (text, text.replace("a/b", "a\\/b")):
        (only,) = load(tmp_path, escaped, name="c.json").config.agents
        assert only.system_message == "😀 \\ud83d"
        assert (only.backend.model, only.backend.temperature) == ("a/b", 0.1)
        assert only.backend.top_p == 1


def test_yaml_surprises(tmp_path: Path) -> None:
    """Dates and sixties are text; what YAML 1.1 reads as true or false is explained."""
    text = agent("type: openai, model: 2024-01-01")
    assert load(tmp_path, text).config.agents[0].backend.model == "2024-01-01"
    assert load(tmp_path, agent("type: openai, model: 1:30")).config.agents[0].backend.model == (
        "1:30"
    )
    (problem,) = problems(tmp_path, agent("type: openai, model: yes"))
    assert problem.endswith('YAML reads yes as true: write "yes" in quotes')


def test_not_a_file(tmp_path: Path) -> None:
    """A directory, a FIFO, a socket, a device or nothing at all is refused without waiting."""
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        expected = {
            "d": "is a directory",
            "fifo": "is no regular file",
            "sock": "cannot be read",
            "/dev/zero": "is no regular file",
            "loop": "cannot be read",
            "missing.yaml": "there is no such file",
            "x\0y": "the path has a NUL in it",
            "": "names no file",
        }
        for name, says in expected.items():
            with pytest.raises(ConfigurationError) as caught:
                load_at(tmp_path, name)
            assert says in str(caught.value)


def load_at(directory: Path, name: str) -> None:
    from runner.config.load import load_config

    load_config(name, cwd=directory)


def test_large_file_is_not_read(tmp_path: Path) -> None:
    """A file of terabytes is refused by its size alone."""
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigurationError, match="1,099,511,627,776 bytes"):
        load_at(tmp_path, "huge.yaml")


def test_secret_in_broken_yaml_is_not_shown(tmp_path: Path) -> None:
    """A syntax error does not print what stands in the file."""
    found = problems(tmp_path, "api_key: *sk-abcdefghij1234567890\n") + problems(
        tmp_path, "a: !sk-abcdefghij1234567890 x\nb: [sk-abcdefghij1234567890: x: y\n"
    )
    assert found
    assert "1234567890" not in "".join(found)
