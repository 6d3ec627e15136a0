"""This data plane's part of shared counters: rows of the journal, what the store says of them, and what it is told."""

from collections.abc import Iterator
from itertools import islice
from time import monotonic
from typing import Final

from msgspec import Struct

from tidegate_dataplane.ledger.demand import Demand
from tidegate_dataplane.ledger.journal import (
    END,
    GRANTED,
    HELD,
    HIGH,
    KIND,
    LOW,
    OTHERS,
    SEEN,
    SLOT,
    USED,
    WIDTH,
    Journal,
)
from tidegate_dataplane.ledger.memory import OnLevel
from tidegate_dataplane.ledger.places import Place, Places, digest_halves, key_bytes_of
from tidegate_dataplane.store.protocol import Declared, Kind, Line, Result, Status

_SWEPT_AT_ONCE: Final = 1_000
# A counter that somebody is short on is leased from call by call for so long.
_PRESSED_SECONDS: Final = 1.0
# Of so many counters it is known whose they are, for whoever asks where they stand.
_KNOWN: Final = 10_000
_SPOTS: Final = 4_096
_EVER: Final = 1 << 62


class Spot(Struct, frozen=True, gc=False):
    """Where a row begins that calls spend from now: while the store's time is at least `begins` and less than `ends`,
    and surely less than `spent_by` (milliseconds); `high` is the other half of its counter's key."""

    at: int
    high: int
    begins: int
    ends: int
    spent_by: int
    place: Place


class Rows:
    """The rows, by where they begin in the journal's `cells`."""

    def __init__(self, journal: Journal, places: Places, on_level: OnLevel | None) -> None:
        # Demands of rows: of those that have thresholds, and of some for whoever asks; and what all data planes have
        # used of the latter.
        self.watched: dict[int, Demand] = {}
        self.known: dict[int, Demand] = {}
        self.fleet: dict[int, int] = {}
        # What is to be reported; whatever an earlier process left, to begin with.
        self.dirty: dict[int, None] = dict.fromkeys(journal.rows())
        # How many calls ask for more of a row at this moment: it must stay what it is.
        self.asked: dict[int, int] = {}
        # By the first half of the counter's key: what is busy is asked for again and again.
        self.spots: dict[int, Spot] = {}
        self._journal = journal
        self._places = places
        self._on_level = on_level
        self._pressed: dict[int, float] = {}
        self._swept = 0

    def pressed(self, at: int) -> bool:
        """Whether somebody was short on this counter lately."""
        return at in self._pressed and self._pressed[at] >= monotonic()

    def of(self, demand: Demand, place: Place) -> int:
        """Where the row of a demand begins in the journal; a new one where there is none."""
        at = self._journal.find(demand.low, demand.high, place.slot)
        if not at:
            at = self._journal.add(demand.low, demand.high, place.slot, place.kind, place.a, place.ends)
        if demand.terms.alert is not None:
            self.watched[at] = demand
        if not demand.terms.rate and (at in self.known or len(self.known) < _KNOWN):
            self.known[at] = demand
        return at

    def spot(self, demand: Demand) -> Spot | None:
        """Where a demand's counter is spent from now; None when nothing is leased there."""
        place = self._places.of(demand)
        at = self._journal.find(demand.low, demand.high, place.slot)
        if not at:
            return None
        if len(self.spots) >= _SPOTS:
            self.spots.clear()
        begins, ends = -_EVER, _EVER
        if place.kind is Kind.WINDOW:
            begins, ends = place.a, place.b
        elif place.kind is Kind.SLIDING:
            begins, ends = place.slot * place.a, (place.slot + 1) * place.a
        spot = Spot(at, demand.high, begins, ends, place.spent_by or _EVER, place)
        self.spots[demand.low] = spot
        return spot

    def reports(self, seen: set[int], most: int) -> list[Line]:
        """The figures of changed rows, `most` at a time; `seen` gets to know which."""
        dirty = self.dirty
        taken = list(islice(dirty, most))
        if len(taken) == len(dirty):
            dirty.clear()  # gives its memory back, which deleting key by key does not
        else:
            for at in taken:
                del dirty[at]
        seen.update(taken)
        return [self._report(at) for at in taken]

    def _report(self, at: int) -> Line:
        cells = self._journal.cells
        kind = cells[at + KIND]
        bounds = self._places.report_bounds(kind, cells[at + WIDTH], cells[at + SLOT], cells[at + END])
        used, held, granted = cells[at + USED], cells[at + HELD], cells[at + GRANTED]
        key = key_bytes_of(cells[at + LOW], cells[at + HIGH])
        return Line(key, kind, *bounds, cells[at + SLOT], -1, used, used + held, max(used + held, granted), 0, 0)

    def take(self, line: Line, result: Result) -> None:
        """What the store says of a line."""
        low, high = digest_halves(line.key)
        if result.status == Status.BOUNDS_UNKNOWN and (at := self._journal.find(low, high, line.slot)):
            self.dirty[at] = None  # by the store's clock its window has not begun: it was not taken
        if result.status in (Status.REBUILDING, Status.BOUNDS_UNKNOWN):
            return
        at = self._journal.find(low, high, result.slot)
        if not at:
            if not result.granted:
                return
            width = line.a if line.kind == Kind.SLIDING else 0
            ends = self._places.ends(line.kind, result.slot, width, line.c)
            at = self._journal.add(low, high, result.slot, line.kind, width, ends)
        cells = self._journal.cells
        cells[at + GRANTED] = result.granted
        cells[at + OTHERS] = result.slot_total - result.granted
        if result.pressed or result.status == Status.REFUSED:
            self._pressed[at] = monotonic() + _PRESSED_SECONDS
            self.return_spare(at)
        if at in self.known:
            self.fleet[at] = result.used
        watched = self.watched.get(at)
        if watched is not None and self._on_level is not None:
            self._on_level(watched, result.used, self._places.now_ms() / 1000)

    def return_spare(self, at: int) -> None:
        """Give back what is leased and not spent, with the next report."""
        cells = self._journal.cells
        firm = cells[at + USED] + cells[at + HELD]
        if cells[at + GRANTED] > firm:
            cells[at + GRANTED] = firm
            self.dirty[at] = None

    def return_all_spare(self) -> None:
        """What was leased may be somebody else's by now."""
        for at in self._journal.rows():
            self.return_spare(at)

    def declared(self) -> Iterator[tuple[int, Declared]]:
        """All that the journal knows. It may take its time: what changes meanwhile is reported afterwards."""
        for at in self._journal.rows():
            yield at, self._declared(at)

    def _declared(self, at: int) -> Declared:
        cells = self._journal.cells
        bounds = self._places.report_bounds(cells[at + KIND], cells[at + WIDTH], cells[at + SLOT], cells[at + END])
        used, firm = cells[at + USED], cells[at + USED] + cells[at + HELD]
        key = key_bytes_of(cells[at + LOW], cells[at + HIGH])
        total = firm + cells[at + OTHERS]
        return Declared(key, cells[at + KIND], *bounds, cells[at + SLOT], -1, used, firm, firm, total)

    def take_declared(self, rows: list[int], results: list[Result]) -> None:
        """What the store says of all that was declared."""
        cells = self._journal.cells
        for at, result in zip(rows, results, strict=True):
            if result.slot == cells[at + SLOT]:
                cells[at + GRANTED] = result.granted
                cells[at + OTHERS] = max(0, result.slot_total - result.granted)

    def sweep(self) -> None:
        """Look at some rows: give back what lies idle, forget what is over."""
        cells = self._journal.cells
        now = self._places.now_ms()
        count = self._journal.count
        for _ in range(min(_SWEPT_AT_ONCE, count)):
            self._swept = (self._swept + 1) % count
            at = self._journal.at(self._swept)
            if not at or at in self.asked:
                continue
            firm = cells[at + USED] + cells[at + HELD]
            idle = cells[at + SEEN] == firm + 1
            cells[at + SEEN] = firm + 1
            end = cells[at + END]
            over = end < now if end else idle and not firm and not cells[at + GRANTED]
            if over and not cells[at + HELD] and at not in self.dirty:
                self._forget(at)
            elif idle:
                self.return_spare(at)
        moment = monotonic()
        for at in [at for at, until in self._pressed.items() if until < moment]:
            del self._pressed[at]

    def _forget(self, at: int) -> None:
        self.spots.pop(self._journal.cells[at + LOW], None)
        self._journal.drop(at)
        self.watched.pop(at, None)
        self.known.pop(at, None)
        self.fleet.pop(at, None)
        self._pressed.pop(at, None)
