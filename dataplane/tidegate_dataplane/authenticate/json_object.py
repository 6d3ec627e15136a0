"""JSON objects from strangers: strict, so that no two readers can see different things in one text."""

import json
import math
from typing import Final

_MAX_DEPTH: Final = 16
_MAX_INTEGER: Final = 2**63 - 1


class NotAnObject(ValueError):
    """The text is not a JSON object that can be read in one way only."""


def read_object(text: bytes) -> dict[str, object]:
    """Decode a JSON object. Raises NotAnObject.

    Refused beyond RFC 8259: duplicate names (RFC 7515, section 4 leaves the choice), more than 16 levels, NaN and
    infinities also as the result of an overflow, integers outside 64 bits, strings that are not Unicode text.
    """
    try:
        value = _DECODER.decode(text.decode("utf-8"))
    except (ValueError, RecursionError):
        raise NotAnObject("not a JSON object") from None
    if not isinstance(value, dict):
        raise NotAnObject("not a JSON object")
    if text.count(b"{") + text.count(b"[") > _MAX_DEPTH and _deeper(value, _MAX_DEPTH):
        raise NotAnObject("too deep")
    if b"\\u" in text and not _is_text(value):
        raise NotAnObject("not Unicode text")
    return value


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotAnObject("duplicate names")
    return found


def _integer(digits: str) -> int:
    value = int(digits) if len(digits) <= 20 else _MAX_INTEGER + 1
    if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
        raise NotAnObject("an integer outside 64 bits")
    return value


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise NotAnObject("a number out of range")
    return value


def _constant(name: str) -> object:
    raise NotAnObject(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_number, parse_constant=_constant
)


def _deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    return any(_deeper(each, levels - 1) for each in (value.values() if isinstance(value, dict) else value))


def _is_text(value: object) -> bool:
    """An escape may make half a surrogate pair, which nothing can write down again."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
