"""Words of a CEL expression with their places, for the static checks: the CEL library has no syntax tree to offer.

Lexical rules: CEL language definition, "Syntax". The library has parsed the text before; nothing here accepts a text
that the library refuses.
"""

import re
from enum import Enum
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*)
    | (?P<string>(?P<prefix>[rRbB]{0,2})
        (?P<body>'{3}(?:\\.|[^\\])*?'{3}|"{3}(?:\\.|[^\\])*?"{3}|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"))
    | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<sign>&&|\|\||==|!=|<=|>=|.)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_RAW_STRING = re.compile(
    r"""[bB]?[rR][bB]?('{3}.*?'{3}|"{3}.*?"{3}|'[^'\n]*'|"[^"\n]*")""",
    re.DOTALL,
)
_KEYWORDS = frozenset({"true", "false", "null", "in"})


class Kind(Enum):
    """What sort of word."""

    NAME = "name"
    KEYWORD = "keyword"
    STRING = "string"
    NUMBER = "number"
    SIGN = "sign"


class Token(NamedTuple):
    """A word: `value` is a string's plain value, or None when it has escapes, is raw, or is no string."""

    kind: Kind
    text: str
    start: int
    end: int
    value: str | None = None


def tokenize(text: str) -> list[Token]:
    """Words in order, without white space and comments."""
    tokens: list[Token] = []
    place = 0
    while place < len(text):
        raw = _RAW_STRING.match(text, place)
        if raw is not None:
            tokens.append(Token(Kind.STRING, raw.group(), place, raw.end()))
            place = raw.end()
            continue
        found = _TOKEN.match(text, place)
        if found is None:  # cannot be: `.` matches any character
            break
        place = found.end()
        if found.lastgroup != "space" and found.group("space") is None:
            tokens.append(_token(found))
    return tokens


def _token(found: re.Match[str]) -> Token:
    text, start, end = found.group(), found.start(), found.end()
    if (body := found.group("body")) is not None:
        quotes = 3 if body[:3] in ("'''", '"""') and len(body) >= 6 else 1
        inner = body[quotes:-quotes]
        plain = not found.group("prefix") and "\\" not in inner
        return Token(Kind.STRING, text, start, end, inner if plain else None)
    if found.group("number") is not None:
        return Token(Kind.NUMBER, text, start, end)
    if found.group("name") is not None:
        return Token(Kind.KEYWORD if text in _KEYWORDS else Kind.NAME, text, start, end)
    return Token(Kind.SIGN, text, start, end)
