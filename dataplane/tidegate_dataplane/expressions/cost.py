"""What an expression may cost: counted from its words when it is admitted, on the largest values that it may be given.

An expression of one tenant runs in the gateway of all, so its worst case is bounded before it is let in. A unit is
about 0.1 microseconds, measured on the CEL library: a word costs one, what walks over a text or a list some more,
within a macro everything is repeated for each entry, `map` and `filter` copy their result for each entry that they add.
A pattern of `matches` is compiled at each use; classes of Unicode (`\\w`, `\\d`, `\\s`, `\\p`) are long tables, and a
counted repetition multiplies all it repeats.
"""

import re
from typing import Final

from tidegate_dataplane.expressions.errors import EvaluationError

# Of what one evaluation may read: entries of a list or map, characters of a text, and of all texts of one value.
MAX_ENTRIES: Final = 256
MAX_TEXT: Final = 8 * 1024
MAX_TEXTS: Final = 32 * 1024
MAX_DEPTH: Final = 8
_ENTRY: Final = 8

RULE_LIMIT: Final = 20_000  # for each request, about two milliseconds
ROUTE_LIMIT: Final = 60_000  # of all expressions on one route
MAPPING_LIMIT: Final = 200_000  # once for each token, all of one namespace together

WORD: Final = 1
WALK: Final = 10
COMPARE: Final = 60  # of two lists; a text or number is told at once
JOIN: Final = 200  # of two lists; the next one copies both again
MACRO: Final = 3
COPYING: Final = frozenset({"map", "filter"})
WALKING: Final = frozenset({"in", "contains"})
COMPARING: Final = frozenset({"==", "!="})
_PATTERN: Final = 20
_LETTER: Final = 10
_CLASS: Final = 3_400
_CHOICE: Final = 50
_ANY: Final = 150
_REPEATED: Final = re.compile(r"\{\s*(\d+)\s*(?:,\s*(\d*)\s*)?\}")
_CODE_POINT: Final = re.compile(r"\\[xuU]\{[^}]*\}")
_UNICODE: Final = re.compile(r"\\[wWdDsSpPbB]")
_WIDE: Final = re.compile(r"\.|\[\^|\[:\^")


def pattern_cost(pattern: str) -> int:
    """Units of compiling and matching a regular expression."""
    pattern = _CODE_POINT.sub("x", pattern)
    cost = _PATTERN + _LETTER * len(pattern)
    cost += _CLASS * len(_UNICODE.findall(pattern)) + _ANY * len(_WIDE.findall(pattern))
    cost += _CHOICE * sum(map(pattern.count, "?*+"))
    for least, most in _REPEATED.findall(pattern):
        cost *= max(int(least), int(most or 0), 1)
    return cost


def check_size(value: object) -> None:
    """Raises EvaluationError for a value beyond what the cost of an expression was counted for."""
    if isinstance(value, (str, list, tuple, dict)):
        _size(value, MAX_DEPTH)


def _size(value: object, depth: int) -> int:
    """The characters in it; each entry counts for some more."""
    if isinstance(value, str):
        found = len(value)
        if found > MAX_TEXT:
            raise EvaluationError(f"a text of {found} characters is longer than {MAX_TEXT}")
    elif isinstance(value, (list, tuple, dict)):
        if len(value) > MAX_ENTRIES:
            raise EvaluationError(f"{len(value)} entries are more than {MAX_ENTRIES}")
        if depth == 0:
            raise EvaluationError(f"lists and maps are nested more than {MAX_DEPTH} deep")
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        found = _ENTRY * len(value) + sum(_size(part, depth - 1) for part in parts)
    else:
        return 0
    if found > MAX_TEXTS:
        raise EvaluationError(f"texts of {found} characters in all are more than {MAX_TEXTS}")
    return found
