"""The counters that one data plane keeps for itself: rate limits and quotas with accuracy Local.

Single-threaded and without I/O; the time comes in as an argument (seconds since the epoch). Counters live here and
not in the Runtime, so that they survive reloads.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import time
from typing import Final

from msgspec import Struct

from tidegate_dataplane.ledger.cells import BucketCell, Calendar, CalendarCell, Cell, GaugeCell, SlidingCell
from tidegate_dataplane.ledger.demand import Amounts, Demand, Excess, Measure
from tidegate_dataplane.ledger.report import CounterReport, counter_report
from tidegate_dataplane.snapshot.entries import MidStream, Unit

# A member of an Enum costs a call of Python (3.11) each time that it is asked for by its class.
_CONCURRENT: Final = Measure.CONCURRENT
# Every new counter pays for a look at so many old ones: idle ones go, and memory follows what is in use.
_SWEPT_PER_CREATION: Final = 4
# So few are not worth looking at: a fast bucket is idle between two calls, and would be made anew for each.
_KEPT: Final = 1_024
_REPORTED: Final = 10_000

# A million units as they are counted: dollars in micro-dollars, seconds in milliseconds.
_MILLION: Final = {Unit.COST: 1_000_000_000_000, Unit.COMPUTE_SECONDS: 1_000_000_000}


OnLevel = Callable[[Demand, int, float], None]


class Taken(Struct, eq=False, gc=False):
    """What a call holds of local counters. `exceeded` are limits that it goes over and need not obey."""

    demands: Sequence[Demand]
    cells: list[Cell]
    amounts: list[int]
    stamps: list[float]
    exceeded: tuple[Excess, ...]


class MemoryLedger:
    """Counts."""

    __slots__ = ("_calendars", "_cells", "_demands", "_keys", "_on_level", "_sweeps")

    def __init__(self, on_level: OnLevel | None = None) -> None:
        """`on_level` is told what is used of counters whose quota has thresholds."""
        self._on_level = on_level
        self._cells: dict[str, Cell] = {}
        self._keys: deque[str] = deque()
        self._calendars: dict[str, Calendar] = {}
        self._sweeps = 0
        # Of quotas, for whoever asks where they stand; of so many at the most.
        self._demands: dict[str, Demand] = {}

    @property
    def counters(self) -> int:
        """Number of counters in memory."""
        return len(self._cells)

    def take(self, demands: Sequence[Demand], amounts: Amounts, now: float) -> Taken | Excess:
        """Take what the call may use from every counter, or from none and say which limit refuses.

        Of several limits that refuse, the one with the longest wait is named.
        """
        if not demands:
            return Taken((), [], [], [], ())
        if self._sweeps:
            self._sweep(now)
        known = self._cells
        cells: list[Cell] = []
        asked: list[int] = []
        over = False
        for demand in demands:
            cell = known.get(demand.key)
            if cell is None:
                cell = self._create(demand)
            terms = demand.terms
            amount = amounts[terms.measure] if terms.program is None else terms.measured(amounts)
            if not cell.fits(demand, amount, now):
                over = True
            cells.append(cell)
            asked.append(amount)
        exceeded: tuple[Excess, ...] = ()
        if over:
            refused, exceeded = _judge(demands, cells, asked, now)
            if refused is not None:
                return refused
            demands, cells, asked = _without_refused_buckets(demands, cells, asked, exceeded)
        stamps = [cell.take(amount) for amount, cell in zip(asked, cells, strict=True)]
        return Taken(demands, cells, asked, stamps, exceeded)

    def extend(self, taken: Taken, amounts: Amounts, now: float) -> Excess | None:
        """Take more, as the call turns out larger than was thought; nothing when a limit that ends streams refuses.
        Those that let them finish only count."""
        refused: Excess | None = None
        more: list[int] = []
        for demand, cell, had in zip(taken.demands, taken.cells, taken.amounts, strict=True):
            amount = max(0, demand.terms.measured(amounts) - had)
            more.append(amount)
            ends = demand.obeyed and demand.terms.mid_stream is MidStream.END
            if amount and ends and not cell.fits(demand, amount, now):
                wait = cell.retry_after(demand, amount, now)
                refused = Excess(demand, cell.used(), demand.amount, amount, cell.reset_at(now), wait)
        if refused is not None:
            return refused
        for place, (cell, stamp, amount) in enumerate(zip(taken.cells, taken.stamps, more, strict=True)):
            if amount:
                cell.correct(stamp, amount)
                taken.amounts[place] += amount
        return None

    def settle(self, taken: Taken, used: Amounts, now: float) -> int:
        """Replace what was reserved by what was used; returns what is charged beyond amounts, in micro-dollars.

        Charged to the window in which the call came.
        """
        overage = 0
        for demand, cell, stamp, reserved in zip(taken.demands, taken.cells, taken.stamps, taken.amounts, strict=True):
            terms = demand.terms
            if terms.measure is _CONCURRENT:
                cell.correct(stamp, -reserved)
                continue
            amount = used[terms.measure] if terms.program is None else terms.measured(used)
            if amount != reserved:
                if amount > reserved and self._cells.get(demand.key) is not cell:
                    cell = self._present(demand, now)
                cell.correct(stamp, amount - reserved)
            if not terms.rate and demand.key in self._demands:
                self._demands[demand.key] = demand  # the quota may have been edited since
            if terms.alert is not None and self._on_level is not None:
                self._on_level(demand, cell.used(), now)
            if terms.overage_price:
                overage += charge(terms.overage_price, terms.unit, amount, cell.used() - demand.amount)
        return overage

    def release(self, taken: Taken) -> None:
        """Give everything back: the call failed before anything was used."""
        for cell, stamp, amount in zip(taken.cells, taken.stamps, taken.amounts, strict=True):
            cell.correct(stamp, -amount)

    def used(self, demand: Demand, now: float) -> int:
        """What a demand's counter holds, reservations included."""
        cell = self._cells.get(demand.key)
        if cell is None:
            return 0
        cell.fits(demand, 0, now)
        return cell.used()

    def reports(self) -> Iterator[CounterReport]:
        """Counters of quotas in which something is used or held; it may take its time."""
        for key, demand in list(self._demands.items()):
            cell = self._cells.get(key)
            if cell is not None and (used := cell.used()):
                gauge = demand.terms.measure is Measure.CONCURRENT
                end = 0.0 if gauge else cell.reset_at(time())
                yield counter_report(demand, used, 0, end)

    def _present(self, demand: Demand, now: float) -> Cell:
        """The cell of a counter that was forgotten while a call ran, since its window was over."""
        cell = self._cells.get(demand.key) or self._create(demand)
        cell.fits(demand, 0, now)
        return cell

    def _create(self, demand: Demand) -> Cell:
        # Not swept here: the cells of the call at hand are not taken from yet, and look idle.
        if len(self._cells) >= _KEPT:
            self._sweeps += _SWEPT_PER_CREATION
        cell = self._cells[demand.key] = self._new_cell(demand)
        self._keys.append(demand.key)
        if not demand.terms.rate and len(self._demands) < _REPORTED:
            self._demands[demand.key] = demand
        return cell

    def _new_cell(self, demand: Demand) -> Cell:
        terms = demand.terms
        window = terms.window
        if window is None:
            return BucketCell(terms.rate) if terms.rate else GaugeCell()
        if window.calendar is None:
            return SlidingCell(window.sliding_seconds)
        calendar = self._calendars.get(window.label)
        if calendar is None:
            calendar = self._calendars[window.label] = Calendar(window)
        return CalendarCell(calendar)

    def _sweep(self, now: float) -> None:
        keys = self._keys
        for _ in range(min(self._sweeps, len(keys))):
            key = keys.popleft()
            if self._cells[key].idle(now):
                del self._cells[key]
                self._demands.pop(key, None)
            else:
                keys.append(key)
        self._sweeps = 0


def charge(price: int, unit: Unit, amount: int, beyond: int) -> int:
    """Micro-dollars for what of `amount` lies beyond the limit, at `price` for a million units; rounded up."""
    charged = min(amount, max(0, beyond))
    return -(-charged * price // _MILLION.get(unit, 1_000_000))


def _judge(
    demands: Sequence[Demand], cells: Sequence[Cell], amounts: Sequence[int], now: float
) -> tuple[Excess | None, tuple[Excess, ...]]:
    """The obeyed limit that refuses with the longest wait, if any does; and all that need not be obeyed."""
    refusals: list[Excess] = []
    reported: list[Excess] = []
    for demand, cell, asked in zip(demands, cells, amounts, strict=True):
        if not cell.fits(demand, asked, now):
            wait = cell.retry_after(demand, asked, now)
            excess = Excess(demand, cell.used(), demand.amount, asked, cell.reset_at(now), wait)
            (refusals if demand.obeyed else reported).append(excess)
    return max(refusals, key=lambda excess: excess.retry_after, default=None), tuple(reported)


def _without_refused_buckets(
    demands: Sequence[Demand], cells: list[Cell], asked: list[int], exceeded: Sequence[Excess]
) -> tuple[Sequence[Demand], list[Cell], list[int]]:
    """A call that a shadow rate limit would refuse takes nothing from its bucket, as if it had refused."""
    skipped = {excess.demand.key for excess in exceeded if excess.demand.terms.rate}
    if not skipped:
        return demands, cells, asked
    held = [each for each in zip(demands, cells, asked, strict=True) if each[0].key not in skipped]
    return [each[0] for each in held], [each[1] for each in held], [each[2] for each in held]
