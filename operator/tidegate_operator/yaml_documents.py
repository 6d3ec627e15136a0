"""YAML text -> JSON values with the position of every field. Pure, and safe against hostile input.

Reads what kubectl would read (yaml_scalars.py), but refuses what it lets pass in silence: duplicate keys, tags of other
schemas, expansions that outgrow the file. Built on the parser's events, so nesting costs no Python stack.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import yaml

from tidegate_operator.field_path import FieldPath, field_text
from tidegate_operator.yaml_scalars import plain_value

MAX_DEPTH = 64
"""Levels. The deepest Kubernetes objects that people write have about twenty."""
MAX_NODES = 500_000
"""Values in one document; each costs a few hundred bytes while it is read."""
MAX_ALIASED_NODES = 10_000
"""Nodes that aliases may add to one document: enough for shared snippets, not for a billion laughs."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DOCUMENT_START = re.compile(r"^---(?=\s|$)", re.MULTILINE)
# The YAML of Kubernetes' own reader is 1.1 (yaml.v2), which refuses every other.
_OTHER_VERSION = re.compile(r"^%YAML(?!\s+1\.1\s*$)", re.MULTILINE)
_CORE = "tag:yaml.org,2002:"
_SCALAR_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
}


class Position(NamedTuple):
    """Where something begins; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document. `spellings` keeps how unquoted booleans were written, for hints (`on` is one)."""

    value: Any = field(repr=False)
    positions: Mapping[FieldPath, Position] = field(repr=False)
    spellings: Mapping[FieldPath, str] = field(repr=False)


class YamlProblem(Exception):
    """A document that cannot be read. The message says what to change."""

    def __init__(self, message: str, position: Position) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


def read_documents(text: str, first_line: int = 1) -> Iterator[Document | YamlProblem]:
    """Every document of a file, in order; a broken one does not hold back the next. Empty ones are left out."""
    for part, line in split_documents(text, first_line):
        yield from _documents(part, line)


def split_documents(text: str, first_line: int = 1) -> Iterator[tuple[str, int]]:
    """The text of every document with the line that it begins in; those with nothing in them are left out."""
    starts = [0, *(match.start() for match in _DOCUMENT_START.finditer(text) if match.start() > 0), len(text)]
    line = first_line
    for begin, end in pairwise(starts):
        part = text[begin:end]
        if not _only_directives(part) or _OTHER_VERSION.search(part):
            yield part, line
        line += part.count("\n")


def _documents(part: str, first_line: int) -> Iterator[Document | YamlProblem]:
    if other := _OTHER_VERSION.search(part):
        at = Position(first_line + part[: other.start()].count("\n"), 1)
        yield YamlProblem("a directive asks for another YAML than 1.1; remove it", at)
        return
    builder = _Builder(first_line)
    try:
        for event in yaml.parse(part, Loader=_Loader):
            done = builder.feed(event)
            if done is not None and done.value is not None:
                yield done
    except YamlProblem as problem:
        yield problem
    except yaml.YAMLError as error:
        yield _syntax_problem(error, part, first_line)


@dataclass(slots=True)
class _Open:
    """A mapping or sequence whose end has not come."""

    value: Any
    path: FieldPath
    anchor: str | None
    start: int
    key: str | None = None
    expects_key: bool = True
    merged: list[Any] = field(default_factory=list)
    depth_below: int = 0

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, dict)


class _Anchored(NamedTuple):
    value: Any
    nodes: int
    depth: int


class _Builder:
    """Turns events into values, one document after another, with a stack of its own."""

    def __init__(self, first_line: int) -> None:
        self._first_line = first_line
        self._reset()

    def _reset(self) -> None:
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored] = {}
        self._positions: dict[FieldPath, Position] = {}
        self._spellings: dict[FieldPath, str] = {}
        self._nodes = 0
        self._aliased = 0
        self._root: Any = None

    def feed(self, event: Any) -> Document | None:
        """Take the next event; returns the document that it completes. Raises YamlProblem."""
        match event:
            case yaml.DocumentStartEvent():
                self._reset()
            case yaml.DocumentEndEvent():
                return Document(self._root, self._positions, self._spellings)
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.MappingStartEvent():
                self._begin({}, event, "map")
            case yaml.SequenceStartEvent():
                self._begin([], event, "seq")
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
        return None

    def _scalar(self, event: Any) -> None:
        at = self._position(event)
        self._count(at)
        value = _scalar_value(event, at)
        parent = self._stack[-1] if self._stack else None
        if parent is not None and parent.is_mapping and parent.expects_key:
            self._key(parent, event, value, at)
            return
        path = self._next_path()
        if isinstance(value, bool):
            self._spellings[path] = event.value
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(value, 1, 0)
        self._place(path, value, at, depth=0)

    def _key(self, parent: _Open, event: Any, value: Any, at: Position) -> None:
        """A key as sigs.k8s.io/yaml makes it text: `on` becomes "true", `8` becomes "8"."""
        if event.value == "<<" and event.implicit[0]:
            parent.key, parent.expects_key = "<<", False
            return
        if value is None:
            raise YamlProblem("a key must not be empty or null", at)
        key = value if isinstance(value, str) else str(value).lower()
        path = (*parent.path, key)
        if path in self._positions:
            first = self._positions[path].line
            raise YamlProblem(f"{field_text(path)}: duplicate key, first given in line {first}; keep one of them", at)
        self._positions[path] = at
        if isinstance(value, bool):
            self._spellings[(*path, "")] = event.value
        parent.key, parent.expects_key = key, False

    def _begin(self, value: Any, event: Any, kind: str) -> None:
        at = self._position(event)
        if event.tag not in (None, "!", _CORE + kind):
            raise YamlProblem(f"the tag {_shown_tag(event.tag)} has no meaning here; remove it", at)
        if self._stack and self._stack[-1].is_mapping and self._stack[-1].expects_key:
            raise YamlProblem("a key must be text, not a list or a map", at)
        if len(self._stack) >= MAX_DEPTH:
            raise YamlProblem(f"nested deeper than {MAX_DEPTH} levels", at)
        self._count(at)
        path = self._next_path()
        self._positions.setdefault(path, at)
        self._stack.append(_Open(value, path, event.anchor, self._nodes))

    def _end(self) -> None:
        done = self._stack.pop()
        if done.is_mapping:
            for source in done.merged:
                for key, value in source.items():
                    done.value.setdefault(key, value)
        if done.anchor:
            nodes = self._nodes + self._aliased - done.start + 1
            self._anchors[done.anchor] = _Anchored(done.value, nodes, done.depth_below + 1)
        self._place(done.path, done.value, self._positions[done.path], depth=done.depth_below + 1)

    def _alias(self, event: Any) -> None:
        at = self._position(event)
        anchored = self._anchors.get(event.anchor)
        if anchored is None:
            raise YamlProblem(f"*{event.anchor} refers to no anchor that is complete before it", at)
        if self._stack and self._stack[-1].is_mapping and self._stack[-1].expects_key:
            raise YamlProblem("a key must be written out, not be an alias", at)
        self._aliased += anchored.nodes
        if self._aliased > MAX_ALIASED_NODES:
            raise YamlProblem(f"aliases expand to more than {MAX_ALIASED_NODES} values; write them out", at)
        if len(self._stack) + anchored.depth > MAX_DEPTH:
            raise YamlProblem(f"nested deeper than {MAX_DEPTH} levels", at)
        self._place(self._next_path(), anchored.value, at, depth=anchored.depth)

    def _count(self, at: Position) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise YamlProblem(f"more than {MAX_NODES} values in one document; split it", at)

    def _next_path(self) -> FieldPath:
        """The path of the value that comes next."""
        if not self._stack:
            return ()
        parent = self._stack[-1]
        return (*parent.path, parent.key or "") if parent.is_mapping else (*parent.path, len(parent.value))

    def _place(self, path: FieldPath, value: Any, at: Position, *, depth: int) -> None:
        self._positions.setdefault(path, at)
        if not self._stack:
            self._root = value
            return
        parent = self._stack[-1]
        parent.depth_below = max(parent.depth_below, depth)
        if not parent.is_mapping:
            parent.value.append(value)
            return
        if parent.key == "<<":
            parent.merged.extend(_merge_sources(value, at))
        else:
            parent.value[parent.key] = value
        parent.key, parent.expects_key = None, True

    def _position(self, event: Any) -> Position:
        return Position(event.start_mark.line + self._first_line, event.start_mark.column + 1)


def _scalar_value(event: Any, at: Position) -> str | int | float | bool | None:
    if event.tag in (None, "!"):
        value = plain_value(event.value) if event.implicit[0] and event.tag is None else str(event.value)
    elif event.tag == _CORE + "str":
        value = str(event.value)
    else:
        value = plain_value(event.value)
        allowed = _SCALAR_TYPES.get(event.tag.removeprefix(_CORE))
        if allowed is None:
            raise YamlProblem(f"the tag {_shown_tag(event.tag)} has no meaning here; remove it", at)
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise YamlProblem(f"the value does not fit its tag {_shown_tag(event.tag)}", at)
    if isinstance(value, float) and not math.isfinite(value):
        raise YamlProblem("JSON has no number that is not finite; put it in quotes if it is text", at)
    return value


def _merge_sources(value: Any, at: Position) -> list[Any]:
    sources = value if isinstance(value, list) else [value]
    if not all(isinstance(source, dict) for source in sources):
        raise YamlProblem("<< merges a map or a list of maps", at)
    return sources


def _shown_tag(tag: str) -> str:
    return f"!!{tag.removeprefix(_CORE)}" if tag.startswith(_CORE) else tag[:80]


def _only_directives(part: str) -> bool:
    """Whether nothing but `%` lines, comments and blanks stand there, as before the first `---`."""
    return all(not line.strip() or line[0] in "%#" for line in part.splitlines())


def _syntax_problem(error: yaml.YAMLError, part: str, first_line: int) -> YamlProblem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        position = Position(mark.line + first_line, mark.column + 1)
        return YamlProblem(f"not valid YAML: {_syntax_words(error, part, mark)}", position)
    offset = getattr(error, "position", None)
    line = part[:offset].count("\n") if isinstance(offset, int) else 0
    return YamlProblem("not valid YAML: a control character", Position(first_line + line, 1))


def _syntax_words(error: Any, part: str, mark: Any) -> str:
    lines = part.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab indents this line; YAML takes only spaces"
    words = [text for text in (getattr(error, "context", None), getattr(error, "problem", None)) if text]
    return ", ".join(words) or "it cannot be parsed"
