"""Prices that users give: in a configuration, and in a file of their own."""

import os
import re
import socket
from pathlib import Path

import pytest

from runner.config.models import PriceConfig
from runner.config.prices import own_prices, user_prices
from runner.errors import ConfigurationError
from tests.config.loading import MINIMAL, load, problems

PRICED = MINIMAL + "runner:\n  prices:\n"


def write(home: Path, text: str | bytes) -> dict[str, str]:
    """Write a user's price file; return the environment in which it is found."""
    path = home / ".config" / "massgen" / "prices.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return {"HOME": str(home)}


def refused(environ: dict[str, str]) -> list[str]:
    """Return the lines of the error that the user's file gives, without its directory."""
    with pytest.raises(ConfigurationError) as caught:
        user_prices(environ)
    home = f"{environ['HOME']}/.config/massgen/"
    return [problem.removeprefix(home) for problem in caught.value.problems]


def test_price_in_a_configuration(tmp_path: Path) -> None:
    """`runner.prices` takes a price for a model, and for all other models of a provider."""
    text = "    openai/gpt-5.2: {input: 1.75, output: 14}\n    vllm/*: {input: 0, output: 0.1}\n"
    prices = load(tmp_path, PRICED + text).config.runner.prices
    assert prices["openai/gpt-5.2"].input == 1.75
    assert prices["vllm/*"].output == 0.1


def test_the_resolved_configuration_has_the_prices(tmp_path: Path) -> None:
    """What a run was charged by stands in its log."""
    text = PRICED + "    openai/m: {input: 1, output: 2}\n"
    assert load(tmp_path, text).resolved["runner"]["prices"] == {
        "openai/m": {"input": 1.0, "output": 2.0}
    }


def test_configuration_before_the_users_file(tmp_path: Path) -> None:
    """A price of the configuration replaces that of the user's file, and says where it stands."""
    environ = write(tmp_path, "openai/a: {input: 1, output: 2}\nopenai/b: {input: 3, output: 4}\n")
    config = load(tmp_path, PRICED + "    openai/a: {input: 5, output: 6}\n").config
    own = own_prices(config, "c.yaml", environ)
    assert (own["openai/a"].price.input, own["openai/a"].source) == (5, "c.yaml: runner.prices")
    assert own["openai/b"].price.input == 3
    assert own["openai/b"].source == f"{tmp_path}/.config/massgen/prices.yaml"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("openai/m: {input: -1, output: 2}", "openai/m.input: -1 is out of range"),
        ("openai/m: {input: .nan, output: 2}", "openai/m.input: nan is out of range"),
        ("openai/m: {input: .inf, output: 2}", "openai/m.input: inf is out of range"),
        ("openai/m: {input: 1.0e+30, output: 2}", "openai/m.input: 1e+30 is out of range"),
        ("openai/m: {input: five, output: 2}", "openai/m.input: must be a number, not text"),
        ("openai/m: {input: true, output: 2}", "openai/m.input: must be a number, not the value"),
        ("openai/m: {input: 0.00000001, output: 2}", "openai/m.input: 1e-08 is too fine"),
        ("openai/m: {input: 1}", "openai/m.output: is missing"),
        (
            "openai/m: {input: 1, output: 2, reasning: 3}",
            "openai/m.reasning: is not a known key",
        ),
        ("openai/m: 3", "openai/m: must be a mapping"),
        ("openai/m: null", "openai/m: must be a mapping"),
        ("openai/m: {input: 1, output: 2, max_output_tokens: 0}", "max_output_tokens: 0 is out"),
        ("gpt-5: {input: 1, output: 2}", "gpt-5: 'gpt-5' names no model"),
        ("opnai/m: {input: 1, output: 2}", "opnai/m: 'opnai/m' names no model"),
        ("openai/: {input: 1, output: 2}", "openai/: 'openai/' names no model"),
    ],
)
def test_nonsense(tmp_path: Path, line: str, problem: str) -> None:
    """A price that is none is refused with its line, in a configuration and in a file alike."""
    [in_config] = problems(tmp_path, f"{PRICED}    {line}\n")
    in_file = refused(write(tmp_path, f"# prices\n{line}\n"))
    assert in_config.startswith("c.yaml:6: runner.prices.")
    assert problem in in_config
    assert any(p.startswith("prices.yaml:2: ") and problem in p for p in in_file), in_file


def test_all_problems_of_a_file_at_once(tmp_path: Path) -> None:
    """Every problem of the user's file is reported, in the order of its lines."""
    environ = write(tmp_path, "x: 1\nopenai/m:\n  input: -1\n  output: x\n")
    assert [line.split(": ")[0] for line in refused(environ)] == [
        "prices.yaml:1",
        "prices.yaml:3",
        "prices.yaml:4",
    ]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}\n"])
def test_empty_file(tmp_path: Path, text: str) -> None:
    """A file without prices is none the worse for it."""
    assert user_prices(write(tmp_path, text)) == {}


def test_no_file(tmp_path: Path) -> None:
    """Nobody needs a price file, nor a home."""
    assert user_prices({"HOME": str(tmp_path)}) == {}
    assert user_prices({}) == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"- a\n", "prices.yaml:1: is not a mapping of models to prices"),
        (b"a: [", "is no valid YAML"),
        (b"\xff\xfea\0", "prices.yaml:1: is UTF-16"),
        (b"a: \x1b[31m\n", "prices.yaml:1: the control character U+001B is not allowed"),
        (b"a: 1\na: 2\n", "prices.yaml:2: a: stands twice, first in line 1"),
        (b"#" * (1024 * 1024 + 1), "prices.yaml: has 1,048,577 bytes"),
    ],
)
def test_no_price_file(tmp_path: Path, text: bytes, problem: str) -> None:
    """A file that cannot be a price file is refused, and what it is is said."""
    assert problem in refused(write(tmp_path, text))[0]


def test_no_regular_file(tmp_path: Path) -> None:
    """A FIFO, a socket, a directory or a link to nowhere is refused without waiting for it."""
    home = tmp_path / ".config" / "massgen"
    home.mkdir(parents=True)
    path = home / "prices.yaml"
    environ = {"HOME": str(tmp_path)}
    os.mkfifo(path)
    assert refused(environ) == ["prices.yaml: is no regular file: name a YAML file"]
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert "prices.yaml: cannot be read" in refused(environ)[0]
    path.unlink()
    path.mkdir()
    assert refused(environ) == ["prices.yaml: is a directory: name a YAML file"]
    path.rmdir()
    path.symlink_to("prices.yaml")
    assert refused(environ) == [
        "prices.yaml: is a link to a file that is not there: mend the link or remove it"
    ]


def test_link_to_a_price_file(tmp_path: Path) -> None:
    """The file may be kept elsewhere, as those do who keep their settings in a repository."""
    environ = write(tmp_path, "openai/m: {input: 1, output: 2}\n")
    path = tmp_path / ".config" / "massgen" / "prices.yaml"
    path.rename(tmp_path / "kept.yaml")
    path.symlink_to(tmp_path / "kept.yaml")
    assert user_prices(environ)["openai/m"].price.output == 2


def test_xdg_home(tmp_path: Path) -> None:
    """XDG_CONFIG_HOME moves the file."""
    write(tmp_path, "openai/m: {input: 1, output: 2}\n")
    environ = {"HOME": "/nowhere", "XDG_CONFIG_HOME": str(tmp_path / ".config")}
    assert "openai/m" in user_prices(environ)


def test_the_page_shows_a_file_that_works(tmp_path: Path) -> None:
    """The example of the reference page is a price file, with every key that there is."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "prices.md"
    [example] = re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    prices = user_prices(write(tmp_path, example))
    assert list(prices) == ["openai/gpt-5.2", "openrouter/openai/gpt-4o", "vllm/*"]
    assert prices["openai/gpt-5.2"].price.model_fields_set == set(PriceConfig.model_fields)
