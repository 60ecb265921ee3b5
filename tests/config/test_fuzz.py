"""Whatever a file holds, loading ends in a configuration or in a ConfigurationError."""

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.config.describe import keys
from runner.config.load import load_config
from runner.config.models import RunConfig
from runner.contract.text import one_line
from runner.errors import ConfigurationError
from tests.config.loading import MINIMAL

WORDS = sorted({part for key in keys() for part in key.path.replace("[]", "").split(".")})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["openai", "local", "tools", "${X}", "2g", "a", "on", "1e3", "0x", "~", "<<"])
)
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=6), inner, max_size=5)
    ),
    max_leaves=20,
)
PIECES = (
    *"[]{}:,-?&*!|>'\"%@`#\n\t \\~<=",
    *("- ", ": ", "\n  ", "&a ", "*a", "!!int ", "<<: ", "---", "agents", "id", "backend"),
    *("type: openai", "\r\n", "\ufeff", "\x85", "\\ud83d", "1_0", ".1"),
)
SNIPPETS = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


def load_bytes(content: bytes, *overrides: str) -> None:
    """Load a file of these bytes; nothing but the one error may come out."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "c.yaml").write_bytes(content)
        found: list[str] = []
        try:
            loaded = load_config("c.yaml", overrides, cwd=Path(name))
        except ConfigurationError as error:
            found = list(error.problems) or [""]
        else:
            assert isinstance(loaded.config, RunConfig)
            json.dumps(loaded.resolved, allow_nan=False)
            yaml.safe_dump(loaded.resolved)
        assert all(line and line == one_line(line) for line in found)


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
@example(b"a: !<tag:yaml.org,2002:null> x")
@example(b"%YAML 9.9\n---\na: 1")
@example(b"? ? a\n: b")
@example(b"a: !!merge x")
@example(b"<<: [[a]]")
@settings(deadline=None, max_examples=200)
def test_bytes(content: bytes) -> None:
    """Arbitrary bytes never give anything else."""
    load_bytes(content)


@given(SNIPPETS)
@settings(deadline=None, max_examples=300)
def test_yaml_text(text: str) -> None:
    """Neither does text made of YAML's own pieces."""
    load_bytes(text.encode("utf-8", "surrogatepass"))


@given(st.dictionaries(st.sampled_from(sorted(RunConfig.model_fields)), TREES, max_size=4), TREES)
@settings(deadline=None, max_examples=200)
def test_trees(top: dict[str, Any], backend: Any) -> None:
    """Nor do well-formed trees of known keys with values of any kind."""
    load_bytes(yaml.safe_dump(top, allow_unicode=True).encode("utf-8", "surrogatepass"))
    whole = {"agents": [{"id": "a", "backend": backend}], **top}
    load_bytes(json.dumps(whole).encode())


@given(st.lists(st.text(max_size=30) | st.builds("{}={}".format, SNIPPETS, SNIPPETS), max_size=3))
@settings(deadline=None, max_examples=200)
def test_overrides(overrides: list[str]) -> None:
    """Nor do overrides."""
    load_bytes(MINIMAL.encode(), *overrides)
