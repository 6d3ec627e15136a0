"""A fast reader of the plain YAML that most manifests are written in; of anything else it says that it cannot tell.

Reads a part of what yaml_documents.py reads, with the same meaning (tests/property/test_plain_yaml.py holds it to that)
at a tenth of its cost: block maps and lists, scalars and flow collections that end in their line, comments. No
anchors, tags, block scalars, escapes, or lines that go on in the next.
"""

import re
from typing import Any, NamedTuple

from tidegate_operator.yaml_scalars import plain_value

MAX_CHARACTERS = 256 * 1024
_MAX_DEPTH = 24
_MAX_KNOWN = 100_000

_WORD = r"[A-Za-z0-9_./](?:[A-Za-z0-9_./+*=()<>!%@$^~;?|&-]|:(?=[A-Za-z0-9_./*-]))*"
_PLAIN = rf"{_WORD}(?: {_WORD})*"
_LINE = re.compile(
    rf"(?P<indent> *)(?P<dash>- +)?(?:(?P<key>[A-Za-z_][A-Za-z0-9_./-]*):(?:(?= *$)| +(?=[^ ]))|(?=[^ ]))"
    rf"(?:(?P<plain>{_PLAIN})|'(?P<single>[^'\x00-\x1f\x7f-\U0010ffff]*)'"
    r"|\"(?P<double>[^\"\\\x00-\x1f\x7f-\U0010ffff]*)\"|(?P<flow>[\[{][ -~]*[\]}]))?(?: +#[ -~]*| *)"
)
_FLOW_WORD = r"[A-Za-z0-9_./](?:[A-Za-z0-9_./+*=()<>!%@$^~;|&-]|:(?=[A-Za-z0-9_./*-]))*"
_TOKEN = re.compile(
    rf" *(?:(?P<sign>[\[\]{{}},])|(?P<colon>:)(?= )|(?P<plain>{_FLOW_WORD}(?: {_FLOW_WORD})*)"
    r"|'(?P<single>[^'\\]*)'(?![\"'])|\"(?P<double>[^\"\\]*)\")"
)
_EMPTY = re.compile(r" *(?:#[ -~]*)?")
_MISSING: Any = object()


class _Line(NamedTuple):
    """`column` is that of the key (or of the item), `dash` that of the `-` before it, -1 for none."""

    column: int
    dash: int
    key: str | None
    value: Any


class _NotPlainError(Exception):
    pass


class PlainReader:
    """Remembers lines: manifests repeat them. What it returns is shared and must never be changed."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line | None] = {}

    def read(self, text: str) -> dict[str, Any] | None:
        """The map that one document holds, which may begin with `---`; None where it is not plain, or no map."""
        if len(text) > MAX_CHARACTERS:
            return None
        try:
            return self._read(text)
        except _NotPlainError:
            return None

    def _read(self, text: str) -> dict[str, Any]:
        known = self._lines
        lines = text.split("\n")
        if lines[0].rstrip(" ") == "---":
            lines[0] = ""
        root: dict[str, Any] = {}
        # Open maps and lists with their columns, from the outermost.
        columns: list[int] = [0]
        nodes: list[Any] = [root]
        waiting: dict[str, Any] | None = None
        name = ""
        for text_line in lines:
            try:
                line = known[text_line]
            except KeyError:
                line = self._learn(text_line)
            if line is None:
                continue
            column, dash, key, value = line
            if dash >= 0:
                if waiting is not None and dash >= columns[-1]:
                    items: list[Any] = []
                    waiting[name] = items
                    columns.append(dash)
                    nodes.append(items)
                else:
                    while columns[-1] > dash:
                        columns.pop()
                        nodes.pop()
                    items = nodes[-1]
                    if columns[-1] != dash or type(items) is not list:
                        raise _NotPlainError
                waiting = None
                if key is None:
                    items.append(value)
                    continue
                entry: dict[str, Any] = {}
                items.append(entry)
                columns.append(column)
                nodes.append(entry)
                if len(columns) > _MAX_DEPTH:
                    raise _NotPlainError
            elif waiting is not None and column > columns[-1]:
                entry = {}
                waiting[name] = entry
                columns.append(column)
                nodes.append(entry)
                if len(columns) > _MAX_DEPTH:
                    raise _NotPlainError
            else:
                while columns[-1] > column or (columns[-1] == column and type(nodes[-1]) is list):
                    columns.pop()
                    nodes.pop()
                    if not columns:
                        raise _NotPlainError
                entry = nodes[-1]
                if columns[-1] != column:
                    raise _NotPlainError
            if key is None or key in entry:
                raise _NotPlainError
            if value is _MISSING:
                entry[key] = None
                waiting, name = entry, key
            else:
                entry[key] = value
                waiting = None
        if not root:
            raise _NotPlainError
        return root

    def _learn(self, text: str) -> _Line | None:
        if len(self._lines) >= _MAX_KNOWN:
            self._lines.clear()
        line = self._lines[text] = _line(text)
        return line


def _line(text: str) -> _Line | None:
    """A line by itself; None for one without content. Raises _NotPlainError."""
    if _EMPTY.fullmatch(text):
        return None
    match = _LINE.fullmatch(text)
    if match is None:
        raise _NotPlainError
    key: str | None = match["key"]
    dash: str | None = match["dash"]
    indent = len(match["indent"])
    if key is not None and plain_value(key) is not key:
        raise _NotPlainError
    value = _value(match)
    if key is None and (dash is None or value is _MISSING):
        raise _NotPlainError
    return _Line(indent + len(dash or ""), indent if dash else -1, key, value)


def _value(match: re.Match[str]) -> Any:
    if match["plain"] is not None:
        return _finite(match["plain"])
    if match["flow"] is not None:
        return _Flow(match["flow"]).read()
    quoted = match["single"] if match["single"] is not None else match["double"]
    return _MISSING if quoted is None else quoted


def _finite(text: str) -> Any:
    value = plain_value(text)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise _NotPlainError
    return value


class _Flow:
    """A flow collection that ends in its line."""

    def __init__(self, text: str) -> None:
        self._tokens: list[re.Match[str]] = []
        at = 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                raise _NotPlainError
            self._tokens.append(token)
            at = token.end()
        self._next = 0

    def read(self) -> Any:
        value = self._value(0)
        if self._next != len(self._tokens):
            raise _NotPlainError
        return value

    def _take(self) -> re.Match[str]:
        if self._next >= len(self._tokens):
            raise _NotPlainError
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise _NotPlainError
        token = self._take()
        if token["plain"] is not None:
            return _finite(token["plain"])
        if token["sign"] == "[":
            return self._list(depth)
        if token["sign"] == "{":
            return self._map(depth)
        return _quoted(token)

    def _list(self, depth: int) -> list[Any]:
        items: list[Any] = []
        if self._closes("]"):
            return items
        while True:
            items.append(self._value(depth + 1))
            if self._ends("]"):
                return items

    def _map(self, depth: int) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        if self._closes("}"):
            return entries
        while True:
            token = self._take()
            key = token["plain"] if token["plain"] is not None else _quoted(token)
            if key in entries or (token["plain"] is not None and plain_value(key) is not key):
                raise _NotPlainError
            if self._take()["colon"] is None:
                raise _NotPlainError
            entries[key] = self._value(depth + 1)
            if self._ends("}"):
                return entries

    def _closes(self, sign: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next]["sign"] == sign:
            self._next += 1
            return True
        return False

    def _ends(self, sign: str) -> bool:
        """Whether the collection ends; else a comma stands there, and something after it."""
        found = self._take()["sign"]
        if found == sign:
            return True
        if found != ",":
            raise _NotPlainError
        return False


def _quoted(token: re.Match[str]) -> str:
    text = token["single"] if token["single"] is not None else token["double"]
    if text is None:
        raise _NotPlainError
    return str(text)
