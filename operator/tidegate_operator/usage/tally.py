"""Adds up lines of a log by what they have in common."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct

from tidegate_operator.usage.lines import Line
from tidegate_operator.usage.period import Day, Period

MAX_GROUPS: Final = 200_000
"""What callers write, such as names of models, may be anything; the rest of the groups is added up as one."""
OTHER: Final = "(other)"
_REFUSED: Final = frozenset({"Denied", "Rejected"})
_REPORTED: Final = "Reported"
_COUNTED: Final = "Counted"

Reader = Callable[[Line, Day], str]

DIMENSIONS: Final[Mapping[str, Reader]] = {
    "consumer": lambda line, day: line.consumer,
    "team": lambda line, day: line.team,
    "tier": lambda line, day: line.tier,
    "namespace": lambda line, day: line.consumer.partition("/")[0],
    "route": lambda line, day: line.route,
    "model": lambda line, day: line.model if line.target is None else line.target.model,
    "backend": lambda line, day: "" if line.target is None else line.target.backend,
    "day": lambda line, day: day.day,
    "month": lambda line, day: day.month,
    "key": lambda line, day: line.key,
    "operation": lambda line, day: line.operation,
    "outcome": lambda line, day: line.outcome,
    "gateway": lambda line, day: line.gateway,
}


class Sums(Struct):
    """What a group used. Money is micro-dollars. `counted` and `estimated` are the tokens that no provider reported,
    `unpriced` the calls that a provider did and of which nobody knew the price, with their tokens."""

    requests: int = 0
    refused: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    counted: int = 0
    estimated: int = 0
    cost: int = 0
    overage: int = 0
    unpriced: int = 0
    unpriced_tokens: int = 0

    def add(self, line: Line) -> None:
        """One request more."""
        self.requests += 1
        self.overage += line.overage
        if line.outcome in _REFUSED:
            self.refused += 1
        if line.cost is not None:
            self.cost += line.cost
        tokens = line.tokens
        if tokens is None:
            return
        self.input += tokens.input
        self.output += tokens.output
        self.cached += tokens.cached
        if tokens.source == _COUNTED:
            self.counted += tokens.input + tokens.output
        elif tokens.source != _REPORTED:
            self.estimated += tokens.input + tokens.output
        if line.cost is None:
            self.unpriced += 1
            self.unpriced_tokens += tokens.input + tokens.output


class Tally:
    """Sums by the values of `by`. `filters` are patterns by dimension, of which one must match."""

    def __init__(self, by: Sequence[str], filters: Mapping[str, Sequence[str]], period: Period) -> None:
        self.by = tuple(by)
        self.groups: dict[tuple[str, ...], Sums] = {}
        self.lost = 0
        self._period = period
        self._readers = tuple(DIMENSIONS[name] for name in by)
        self._filters = tuple((DIMENSIONS[name], tuple(patterns)) for name, patterns in filters.items())

    @property
    def total(self) -> Sums:
        """Of all groups."""
        names = Sums.__struct_fields__
        return Sums(*(sum(getattr(sums, name) for sums in self.groups.values()) for name in names))

    def add(self, line: Line) -> None:
        """Count a line, if it counts. Raises ValueError when it cannot be read."""
        day = self._period.day(line.time)
        if day is None:
            return
        if line.event:
            if line.event == "Lost":
                self.lost += line.records
            return
        for read, patterns in self._filters:
            value = read(line, day)
            if not any(fnmatchcase(value, pattern) for pattern in patterns):
                return
        group = tuple([read(line, day) for read in self._readers])
        sums = self.groups.get(group)
        if sums is None:
            if len(self.groups) >= MAX_GROUPS:
                group = (OTHER,) * len(group)
            sums = self.groups.setdefault(group, Sums())
        sums.add(line)
