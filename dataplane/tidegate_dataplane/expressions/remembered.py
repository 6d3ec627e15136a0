"""Results of an expression, remembered by the values that it read: looking up costs less than evaluating anew.

Only for expressions that read nothing else than short values which few calls bring anew. What callers choose freely
(headers, paths, sizes) would only fill the memory.
"""

from collections.abc import Mapping
from typing import Any, Final

from tidegate_dataplane.expressions.environment import CLAIMS, NOW
from tidegate_dataplane.expressions.references import Read

REMEMBERED: Final = 256
_LONGEST: Final = 256
_MOST_ENTRIES: Final = 32
_FEW_VALUES: Final = frozenset(
    {
        ("request", "model"),
        ("request", "operation"),
        ("request", "address"),
        ("request", "peer"),
        ("consumer", "name"),
        ("consumer", "namespace"),
        ("consumer", "type"),
        ("consumer", "team"),
        ("consumer", "tier"),
        ("consumer", "plan"),
        ("consumer", "roles"),
        ("consumer", "methods"),
        ("token", "issuer"),
        ("token", "subject"),
        ("token", "acr"),
        ("route", "name"),
        ("route", "namespace"),
        *(
            ("backend", member)
            for member in ("name", "namespace", "provider", "model", "version", "cloud", "region", "jurisdiction")
        ),
    }
)
_BY_KEY: Final = frozenset({("consumer", "attributes"), ("request", "proxyHeaders"), CLAIMS})
_ABSENT: Final = (None,)
Key = tuple[object, ...]


class _TooLargeError(Exception):
    """The value is not worth remembering."""


class Results:
    """`known` maps values to results. With a clock they hold within one second."""

    __slots__ = ("_clock", "_reads", "_second", "known")

    def __init__(self, reads: tuple[Read, ...], *, clock: bool) -> None:
        self.known: dict[Key, bool] = {}
        self._reads = tuple(
            (read.root, read.member, tuple(sorted(read.keys or ())), read.keys is None) for read in reads
        )
        self._clock = clock
        self._second = 0

    @classmethod
    def of(cls, reads: tuple[Read, ...], *, clock: bool) -> "Results | None":
        """None when the expression reads what is not worth remembering."""
        return cls(reads, clock=clock) if all(map(_worth_remembering, reads)) else None

    def key(self, variables: Mapping[str, Any]) -> Key | None:
        """What the result is remembered by; None when it should not be."""
        if self._clock:
            second = int(variables[NOW])
            if second != self._second:
                self.known.clear()
                self._second = second
        values: list[object] = []
        for root, member, keys, whole in self._reads:
            value = variables[root][member]
            if whole:
                values.append(value)
                continue
            for key in keys:
                found = value.get(key, _ABSENT)
                if type(found) is str:
                    if len(found) > _LONGEST:
                        return None
                elif found is not _ABSENT:
                    try:
                        found = _frozen(found, _MOST_ENTRIES)
                    except _TooLargeError:
                        return None
                values.append(found)
        return tuple(values)

    def remember(self, values: Key, result: bool) -> None:
        """When there are too many, all are forgotten."""
        if len(self.known) >= REMEMBERED:
            self.known.clear()
        self.known[values] = result


def _worth_remembering(read: Read) -> bool:
    name = read.root, read.member
    return name in _FEW_VALUES if read.keys is None else name in _BY_KEY


def _frozen(value: object, most: int) -> object:
    """A value of JSON as one that can be hashed, and in which 1, 1.0 and true differ."""
    if isinstance(value, str):
        if len(value) > _LONGEST:
            raise _TooLargeError
        return value
    if isinstance(value, (list, tuple, dict)):
        if len(value) > most:
            raise _TooLargeError
        parts = [part for pair in value.items() for part in pair] if isinstance(value, dict) else value
        return (type(value), *(_frozen(part, most // 2) for part in parts))
    return type(value), value
