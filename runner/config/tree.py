"""Build plain data from a YAML parser's events, bounded and with lines. Runs on: host.

Events are taken one by one, so that depth, size and what aliases expand to are known before
anything is built of them.
"""

from collections.abc import Set
from typing import Any, NamedTuple, NoReturn, TypeVar

import yaml

from runner.config.problems import KeyPath, Problem, ProblemsError, dotted
from runner.config.scalars import MERGE, STANDARD_TAGS, ScalarError, scalar_value
from runner.config.secrets import redact

_T = TypeVar("_T")

MAX_DEPTH = 32
MAX_NODES = 20_000


class Document(NamedTuple):
    """Parsed data and where it stands."""

    data: Any
    lines: dict[KeyPath, int]
    """From 1: a key's line, an item's line."""
    plain: dict[KeyPath, str]
    """Unquoted scalars that YAML did not read as text, as they are written."""

    def line_of(self, path: KeyPath) -> int | None:
        """Return the line of a key, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


class _Node:
    """A scalar, a sequence or a mapping, with the size and depth it has when aliases expand."""

    __slots__ = ("depth", "items", "kind", "line", "plain", "size", "value")

    def __init__(self, kind: str, line: int) -> None:
        self.kind = kind
        self.line = line
        self.value: Any = None
        self.plain: str | None = None
        self.items: list[_Node] = []
        """Of a mapping: key, value, key, value, …"""
        self.size = 1
        self.depth = 1


class TreeBuilder:
    """Takes the events of one document and gives back its data."""

    def __init__(self, shown: str, *, json_numbers: bool = False) -> None:
        self._shown = shown
        self._json_numbers = json_numbers
        self._resolve: Any = yaml.resolver.Resolver().resolve
        self._open: list[_Node] = []
        self._anchors: dict[str, _Node] = {}
        self._root: _Node | None = None
        self._count = 0
        self._problems: dict[Problem, None] = {}

    def take(self, event: yaml.Event) -> None:
        """Add one event. Raises ProblemsError as soon as a limit is passed."""
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event), event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._attach(self._aliased(event))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._start(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
            self._stop(_line(event), "a second document begins", "one file is one configuration")

    def document(self) -> Document:
        """Return the data. Raises ProblemsError with everything that was found wrong."""
        result = Document(None, {}, {})
        if self._root is not None:
            result = result._replace(data=self._plain_data(self._root, (), result))
        if self._problems:
            raise ProblemsError(*self._problems)
        return result

    # taking events

    def _scalar(self, event: yaml.ScalarEvent) -> _Node:
        node = _Node("scalar", _line(event))
        explicit = event.tag if event.tag != "!" else "tag:yaml.org,2002:str"
        tag = explicit or self._resolve(yaml.ScalarNode, event.value, event.implicit)
        self._check_tag(tag, node.line)
        try:
            node.value = scalar_value(tag, event.value, json_numbers=self._json_numbers)
        except ScalarError as error:
            self._note(Problem(self._shown, node.line, "", redact(str(error))))
        if event.implicit[0] and not isinstance(node.value, str):
            node.plain = event.value
        return node

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        kind = "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence"
        node = _Node(kind, _line(event))
        if event.tag not in {None, "!"}:
            self._check_tag(event.tag, node.line)
        if len(self._open) >= MAX_DEPTH:
            self._stop(node.line, f"is nested too deeply (allowed: {MAX_DEPTH} levels)")
        self._add(node, event.anchor)
        self._open.append(node)

    def _end(self) -> None:
        node = self._open.pop()
        node.size = 1 + sum(item.size for item in node.items)
        node.depth = 1 + max((item.depth for item in node.items), default=0)
        if node.size > MAX_NODES or node.depth > MAX_DEPTH:
            allowed = f"allowed: {MAX_NODES:,} values, {MAX_DEPTH} levels"
            self._stop(node.line, f"aliases expand to too much ({allowed})")

    def _aliased(self, event: yaml.AliasEvent) -> _Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            self._stop(_line(event), "an alias has no anchor before it")
        if node in self._open:
            self._stop(_line(event), "an alias stands inside of what it repeats")
        return node

    def _add(self, node: _Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._attach(node)

    def _attach(self, node: _Node) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            self._stop(node.line, f"has too many values (allowed: {MAX_NODES:,})")
        if self._open:
            self._open[-1].items.append(node)
        else:
            self._root = node

    def _check_tag(self, tag: str, line: int) -> None:
        if tag not in STANDARD_TAGS:
            what = redact(f"the tag {tag[:60]} is not allowed")
            self._note(Problem(self._shown, line, "", what, "write the plain value"))

    def _note(self, problem: Problem) -> None:
        self._problems[problem] = None

    def _stop(self, line: int, what: str, remedy: str = "") -> NoReturn:
        raise ProblemsError(*self._problems, Problem(self._shown, line, "", what, remedy))

    # plain data

    def _plain_data(self, node: _Node, path: KeyPath, into: Document) -> Any:
        into.lines.setdefault(path, node.line)
        if node.kind == "scalar":
            if node.plain is not None:
                into.plain[path] = node.plain
            return None if node.value is MERGE else node.value
        if node.kind == "sequence":
            return [self._plain_data(n, (*path, i), into) for i, n in enumerate(node.items)]
        return self._mapping(node, path, into)

    def _mapping(self, node: _Node, path: KeyPath, into: Document) -> dict[str, Any]:
        values: dict[str, Any] = {}
        pairs = list(zip(node.items[::2], node.items[1::2], strict=True))
        for key, value in pairs:
            if key.value is MERGE or not self._is_key(key, values, path, into):
                continue
            into.lines[(*path, key.value)] = key.line
            values[key.value] = self._plain_data(value, (*path, key.value), into)
        for key, value in pairs:
            if key.value is MERGE:
                self._merge(value, values, path, into)
        return values

    def _is_key(self, key: _Node, values: dict[str, Any], path: KeyPath, into: Document) -> bool:
        if not isinstance(key.value, str) or key.kind != "scalar":
            written = f" {key.plain}" if key.plain else ""
            remedy = f'write "{key.plain}" in quotes' if key.plain else ""
            what = f"the key{written} is not text"
            self._note(Problem(self._shown, key.line, dotted(path), redact(what), redact(remedy)))
            return False
        if key.value in values:
            where = dotted((*path, key.value))
            first = into.lines[(*path, key.value)]
            what = f"stands twice, first in line {first}"
            self._note(Problem(self._shown, key.line, where, what, "take one out"))
            return False
        return True

    def _merge(self, node: _Node, values: dict[str, Any], path: KeyPath, into: Document) -> None:
        for source in node.items if node.kind == "sequence" else [node]:
            if source.kind != "mapping":
                what = "<<: takes a mapping or a list of mappings"
                self._note(Problem(self._shown, node.line, dotted(path), what))
                return
            scratch = Document(None, {}, {})
            merged = self._mapping(source, path, scratch)
            new = merged.keys() - values.keys()
            values.update({name: value for name, value in merged.items() if name in new})
            into.lines.update(_below(path, new, scratch.lines))
            into.plain.update(_below(path, new, scratch.plain))


def _below(path: KeyPath, names: Set[str], places: dict[KeyPath, _T]) -> dict[KeyPath, _T]:
    size = len(path)
    return {key: place for key, place in places.items() if len(key) > size and key[size] in names}


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1
