"""The ledger of one data plane, in memory: rate limits and quotas, reserved before a call and settled after it.

Single-threaded and without I/O; the time comes in as an argument (seconds since the epoch). Counters live here and
not in the Runtime, so that they survive reloads.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from tidegate_dataplane.ledger.cells import BucketCell, Calendar, CalendarCell, Cell, SlidingCell
from tidegate_dataplane.ledger.demand import Demand, Excess, Measure, Standing, Standings

# Every new counter pays for a look at so many old ones: idle ones go, and memory follows what is in use.
_SWEPT_PER_CREATION: Final = 4
# So few are not worth looking at: a fast bucket is idle between two calls, and would be made anew for each.
_KEPT: Final = 1_024


class Reservation:
    """What a call holds until it is settled or released. `exceeded` are limits that it goes over and need not obey."""

    __slots__ = ("_amounts", "_cells", "_demands", "_stamps", "exceeded", "open", "request_id")

    def __init__(
        self,
        request_id: str,
        demands: Sequence[Demand],
        cells: list[Cell],
        amounts: tuple[int, int, int, int],
        stamps: list[float],
        exceeded: tuple[Excess, ...],
    ) -> None:
        self.request_id = request_id
        self.open = True
        self.exceeded = exceeded
        self._demands = demands
        self._cells = cells
        self._amounts = amounts
        self._stamps = stamps


class MemoryLedger:
    """Counts. `overshoot_tokens` adds up what settled calls used beyond their reservations."""

    __slots__ = ("_calendars", "_cells", "_keys", "_open", "_sweeps", "overshoot_tokens")

    def __init__(self) -> None:
        self._cells: dict[str, Cell] = {}
        self._keys: deque[str] = deque()
        self._calendars: dict[str, Calendar] = {}
        self._open: dict[str, Reservation] = {}
        self._sweeps = 0
        self.overshoot_tokens = 0

    @property
    def counters(self) -> int:
        """Number of counters in memory."""
        return len(self._cells)

    @property
    def outstanding(self) -> int:
        """Number of reservations that are neither settled nor released."""
        return len(self._open)

    def reserve(
        self,
        request_id: str,
        demands: Sequence[Demand],
        *,
        now: float,
        prompt_tokens: int = 0,
        max_output_tokens: int = 0,
    ) -> Reservation | Excess:
        """Take what the call may use from every counter, or from none and say which limit refuses.

        A request id that holds a reservation already gets the same one again. Of several limits that refuse, the one
        with the longest wait is named.
        """
        present = self._open.get(request_id)
        if present is not None:
            return present
        if self._sweeps:
            self._sweep(now)
        amounts = (1, prompt_tokens + max_output_tokens, prompt_tokens, max_output_tokens)
        known = self._cells
        cells: list[Cell] = []
        over = False
        for demand in demands:
            cell = known.get(demand.key)
            if cell is None:
                cell = self._create(demand)
            if not cell.fits(demand, amounts[demand.measure], now):
                over = True
            cells.append(cell)
        exceeded: tuple[Excess, ...] = ()
        if over:
            refused, exceeded = _judge(demands, cells, amounts, now)
            if refused is not None:
                return refused
            demands, cells = _without_refused_buckets(demands, cells, exceeded)
        stamps = [cell.take(amounts[demand.measure]) for demand, cell in zip(demands, cells, strict=True)]
        reservation = Reservation(request_id, demands, cells, amounts, stamps, exceeded)
        self._open[request_id] = reservation
        return reservation

    def settle(self, reservation: Reservation, *, input_tokens: int, output_tokens: int, now: float) -> int:
        """Replace what was reserved by what was used; returns the tokens used beyond the reservation.

        Charged to the window in which the call came. Settling or releasing again changes nothing.
        """
        if not reservation.open:
            return 0
        self._close(reservation)
        used = (1, input_tokens + output_tokens, input_tokens, output_tokens)
        reserved = reservation._amounts
        for demand, cell, stamp in zip(reservation._demands, reservation._cells, reservation._stamps, strict=True):
            measure = demand.measure
            difference = used[measure] - reserved[measure]
            if difference:
                cell.correct(stamp, difference)
        overshoot = max(0, used[Measure.TOKENS] - reserved[Measure.TOKENS])
        self.overshoot_tokens += overshoot
        return overshoot

    def release(self, reservation: Reservation) -> None:
        """Give everything back: the call failed before anything was used."""
        if not reservation.open:
            return
        self._close(reservation)
        amounts = reservation._amounts
        for demand, cell, stamp in zip(reservation._demands, reservation._cells, reservation._stamps, strict=True):
            cell.correct(stamp, -amounts[demand.measure])

    def standings(self, reservation: Reservation, now: float) -> Standings:
        """Where the tightest limits stand, the reservation included."""
        tightest: list[tuple[int, Demand, Cell] | None] = [None, None]
        for demand, cell in zip(reservation._demands, reservation._cells, strict=True):
            if demand.obeyed:
                remaining = demand.amount - cell.used()
                sort = demand.measure is not Measure.REQUESTS
                least = tightest[sort]
                if least is None or remaining < least[0]:
                    tightest[sort] = (remaining, demand, cell)
        return Standings(_standing(tightest[0], now), _standing(tightest[1], now))

    def used(self, demand: Demand, now: float) -> int:
        """What a demand's counter holds, reservations included."""
        cell = self._cells.get(demand.key)
        if cell is None:
            return 0
        cell.fits(demand, 0, now)
        return cell.used()

    def _close(self, reservation: Reservation) -> None:
        reservation.open = False
        self._open.pop(reservation.request_id, None)

    def _create(self, demand: Demand) -> Cell:
        # Not swept here: the cells of the call at hand are not taken from yet, and look idle.
        if len(self._cells) >= _KEPT:
            self._sweeps += _SWEPT_PER_CREATION
        cell = self._cells[demand.key] = self._new_cell(demand)
        self._keys.append(demand.key)
        return cell

    def _new_cell(self, demand: Demand) -> Cell:
        window = demand.window
        if window is None:
            return BucketCell(demand.rate)
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
            else:
                keys.append(key)
        self._sweeps = 0


def _judge(
    demands: Sequence[Demand], cells: Sequence[Cell], amounts: tuple[int, int, int, int], now: float
) -> tuple[Excess | None, tuple[Excess, ...]]:
    """The obeyed limit that refuses with the longest wait, if any does; and all that need not be obeyed."""
    refusals: list[Excess] = []
    reported: list[Excess] = []
    for demand, cell in zip(demands, cells, strict=True):
        asked = amounts[demand.measure]
        if not cell.fits(demand, asked, now):
            wait = cell.retry_after(demand, asked, now)
            excess = Excess(demand, cell.used(), demand.amount, asked, cell.reset_at(now), wait)
            (refusals if demand.obeyed else reported).append(excess)
    return max(refusals, key=lambda excess: excess.retry_after, default=None), tuple(reported)


def _without_refused_buckets(
    demands: Sequence[Demand], cells: list[Cell], exceeded: Sequence[Excess]
) -> tuple[Sequence[Demand], list[Cell]]:
    """A call that a shadow rate limit would refuse takes nothing from its bucket, as if it had refused."""
    skipped = {excess.demand.key for excess in exceeded if excess.demand.window is None}
    if not skipped:
        return demands, cells
    held = [(demand, cell) for demand, cell in zip(demands, cells, strict=True) if demand.key not in skipped]
    return [demand for demand, _ in held], [cell for _, cell in held]


def _standing(tightest: tuple[int, Demand, Cell] | None, now: float) -> Standing | None:
    if tightest is None:
        return None
    remaining, demand, cell = tightest
    return Standing(demand.amount, max(0, remaining), cell.reset_at(now))
