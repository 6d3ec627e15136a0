"""What counters stand at, limit by limit: the fullest of each, and how many there are. Bounded, whatever there is."""

from heapq import heappush, heapreplace
from typing import Final

from msgspec import Struct

from tidegate_dataplane.ledger.demand import Demand
from tidegate_dataplane.snapshot.entries import Accuracy, Unit

# So many of the fullest counters of each limit are known.
TOP: Final = 100


class CounterReport(Struct, frozen=True, gc=False):
    """One counter in which something is used or held. `object` is the quota's "namespace/name", `limit` what people
    call the limit, such as "Tokens per Month".

    `used` and `held` (reserved by calls that are not settled yet) are what all data planes together have, as far as
    this one knows, where the counter is shared; else what this one has. `window_end` is in seconds since the epoch, 0
    where nothing ever resets. Amounts are in the units of the ledger: micro-dollars, milliseconds.
    """

    object: str
    limit: str
    unit: Unit
    accuracy: Accuracy
    scope: str
    used: int
    held: int
    amount: int
    window_end: float

    @property
    def percent(self) -> float:
        """Of the amount, what is used, to a tenth; rounded down, so that 100 means all of it."""
        return self.used * 1000 // self.amount / 10 if self.amount > 0 else (100.0 if self.used else 0.0)


def counter_report(demand: Demand, used: int, held: int, window_end: float) -> CounterReport:
    """Where the counter of a demand stands."""
    terms = demand.terms
    return CounterReport(
        object=terms.object,
        limit=terms.label,
        unit=terms.unit,
        accuracy=terms.accuracy,
        scope=demand.scope,
        used=used,
        held=held,
        amount=demand.amount,
        window_end=window_end,
    )


class CounterRow(Struct, frozen=True, rename="camel", gc=False):
    """One of the fullest counters. `resets` is in seconds since the epoch, 0 for never."""

    scope: str
    used: int
    held: int
    amount: int
    percent: float
    resets: int


class LimitReport(Struct, frozen=True, rename="camel"):
    """All counters of one limit. `used` and `held` are their sums; `top` holds the fullest first."""

    quota: str
    limit: str
    unit: Unit
    accuracy: Accuracy
    counters: int
    used: int
    held: int
    top: tuple[CounterRow, ...]


class Tally:
    """Adds up the counters of each limit, one at a time, in bounded memory."""

    def __init__(self, top: int = TOP) -> None:
        self._top = top
        self._limits: dict[tuple[str, str], _Limit] = {}

    def add(self, found: CounterReport) -> None:
        key = (found.object, found.limit)
        limit = self._limits.get(key)
        if limit is None:
            limit = self._limits[key] = _Limit(found)
        limit.add(found, self._top)

    def reports(self) -> tuple[LimitReport, ...]:
        """By quota and limit."""
        return tuple(self._limits[key].report() for key in sorted(self._limits))


class _Limit:
    """The sums of one limit, and a heap whose first is the least full of the fullest."""

    __slots__ = ("counters", "first", "fullest", "held", "used")

    def __init__(self, first: CounterReport) -> None:
        self.first = first
        self.counters = self.used = self.held = 0
        self.fullest: list[tuple[float, int, str, CounterReport]] = []

    def add(self, found: CounterReport, top: int) -> None:
        self.counters += 1
        self.used += found.used
        self.held += found.held
        # The number of the counter tells those apart that are equally full and of one name.
        entry = (found.percent, -self.counters, found.scope, found)
        if len(self.fullest) < top:
            heappush(self.fullest, entry)
        elif entry > self.fullest[0]:
            heapreplace(self.fullest, entry)

    def report(self) -> LimitReport:
        first = self.first
        ordered = sorted(self.fullest, key=lambda entry: (-entry[0], entry[2]))
        return LimitReport(
            quota=first.object,
            limit=first.limit,
            unit=first.unit,
            accuracy=first.accuracy,
            counters=self.counters,
            used=self.used,
            held=self.held,
            top=tuple(_row(entry[3]) for entry in ordered),
        )


def _row(found: CounterReport) -> CounterRow:
    return CounterRow(
        scope=found.scope,
        used=found.used,
        held=found.held,
        amount=found.amount,
        percent=found.percent,
        resets=int(found.window_end),
    )
