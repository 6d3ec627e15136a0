"""The talk with the shared store: calls that need more, reports of what was used, and all of it after a loss.

Calls of one tick share a round trip; there is never more than one on its way. Figures are those of the moment at which
a batch is sent, and what an answer grants is held for its call before anything else happens.
"""

import asyncio
import logging
from collections import deque
from math import inf
from time import monotonic, time
from typing import Final

from tidegate_dataplane.ledger.demand import Demand, Excess
from tidegate_dataplane.ledger.holding import Holding, Outcome, Wanted
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
from tidegate_dataplane.ledger.places import Place, Places, digest_halves, key_bytes, key_bytes_of
from tidegate_dataplane.ledger.tokens import LeasedTokens
from tidegate_dataplane.snapshot.entries import Accuracy
from tidegate_dataplane.store.protocol import (
    SPARE_SECONDS,
    Answer,
    Declared,
    EpochChanged,
    Kind,
    Line,
    Reason,
    Result,
    Status,
    Store,
    StoreUnavailable,
)

_log = logging.getLogger(__name__)

BATCH_DECISIONS: Final = 64
BATCH_REPORTS: Final = 256
# How often what was settled is reported, and idle rows are looked at.
REPORT_SECONDS: Final = 0.1
_SWEPT_ROWS: Final = 1_000
# A counter that somebody is short on is leased from call by call for so long.
_PRESSED_SECONDS: Final = 1.0
# A slice: so many calls like this one, or this part of the limit, whichever is more.
_SLICE_CALLS: Final = 8
_SLICE_PART: Final = 256
# Of so many counters it is known whose they are, for whoever asks where they stand.
_REPORTED: Final = 10_000


class _Decision:
    """Lines that are granted together, and who waits for it (nobody: a slice drawn ahead)."""

    __slots__ = ("answer", "wanted")

    def __init__(self, wanted: list[Wanted], answer: "asyncio.Future[Outcome] | None") -> None:
        self.wanted = wanted
        self.answer = answer


class Exchanges:
    """Asks and tells the store, for one data plane. `owners` is how many data planes it last told of."""

    def __init__(
        self, store: Store, journal: Journal, places: Places, tokens: LeasedTokens, on_level: OnLevel | None
    ) -> None:
        self.owners = 1
        # Demands of rows, by where they begin: of those that have thresholds, and of some for whoever asks; and what
        # all data planes have used of the latter.
        self.watched: dict[int, Demand] = {}
        self.known: dict[int, Demand] = {}
        self.fleet: dict[int, int] = {}
        self._store = store
        self._journal = journal
        self._places = places
        self._tokens = tokens
        self._on_level = on_level
        self._pending: deque[_Decision] = deque()
        self._dirty: dict[int, None] = dict.fromkeys(journal.rows())
        self._pressed: dict[int, float] = {}
        self._refilling: set[int] = set()
        self._pump: asyncio.Task[None] | None = None
        self._timer: asyncio.Task[None] | None = None
        self._sweep_row = 0
        self._spend_until = -inf
        store.on_epoch_changed(self._lost)

    async def start(self) -> None:
        """Connect, and report from now on."""
        await self._store.start()
        self._timer = asyncio.get_running_loop().create_task(self._report(), name="shared ledger")

    async def aclose(self) -> None:
        """Report what is not reported yet, if the store answers."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
        if self._pump is not None:
            await asyncio.gather(self._pump, return_exceptions=True)
        self._drop_spare()
        try:
            while self._dirty:
                await self._exchange()
        except (StoreUnavailable, EpochChanged):
            pass
        await self._store.aclose()

    def spendable(self) -> bool:
        """Whether what is leased may still be spent."""
        return monotonic() <= self._spend_until

    def changed(self, at: int) -> None:
        """A row's figures are to be reported."""
        self._dirty[at] = None

    def pressed(self, at: int) -> bool:
        """Whether somebody was short on this counter lately."""
        return at in self._pressed

    async def ask(self, wanted: list[Wanted]) -> Outcome:
        """Have more granted, all of it or nothing; then it is held. Raises StoreUnavailable."""
        if not wanted:
            return None
        state = self._store.state
        if not state.connected:
            raise StoreUnavailable(state.reason)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._pending.append(_Decision(wanted, answer))
        self._wake()
        return await answer

    def row(self, demand: Demand, place: Place) -> int:
        """Where the row of a demand begins in the journal; a new one where there is none."""
        at = self._journal.find(demand.low, demand.high, place.slot)
        if not at:
            at = self._journal.add(demand.low, demand.high, place.slot, place.kind, place.a, place.ends)
        if demand.terms.alert is not None:
            self.watched[at] = demand
        if not demand.terms.rate and (at in self.known or len(self.known) < _REPORTED):
            self.known[at] = demand
        return at

    def refill(self, demand: Demand, at: int, place: Place, amount: int) -> None:
        """Draw the next slice before this one is used up."""
        if at in self._pressed or at in self._refilling:
            return
        self._refilling.add(at)
        self._pending.append(_Decision([Wanted(Holding(demand, at, place.slot, 0), place, max(1, amount))], None))
        self._wake()

    def _hold(self, wanted: list[Wanted], results: list[Result]) -> Outcome:
        """Hold what was granted; else why not."""
        refused: Excess | None = None
        for each, result in zip(wanted, results, strict=True):
            status, holding = result.status, each.holding
            if status == Status.REFUSED:
                excess = _excess(holding.demand, each, result)
                if refused is None or excess.retry_after > refused.retry_after:
                    refused = excess
            elif status in (Status.REBUILDING, Status.BOUNDS_UNKNOWN):
                return Status(status)
        if refused is not None:
            return refused
        if any(
            each.holding.at and result.slot != each.holding.slot for each, result in zip(wanted, results, strict=True)
        ):
            return Status.BOUNDS_UNKNOWN  # a window ended on the way; what it granted is spare in the new one
        cells = self._journal.cells
        for each, result in zip(wanted, results, strict=True):
            holding = each.holding
            if holding.at:
                holding.amount += each.need
                cells[holding.at + HELD] += each.need
            elif result.granted > each.need:
                lives = monotonic() + each.place.c / 1_000_000
                self._tokens.put(holding.demand, result.granted - each.need, lives)
        return None

    def _lost(self) -> None:
        """The store's life is another one: nothing is spent before it has been told everything."""
        self._spend_until = -inf
        self._wake()

    def _wake(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._work(), name="shared ledger exchange")

    async def _work(self) -> None:
        """Exchange until nobody waits any more."""
        while self._pending or self._store.state.must_declare:
            try:
                await self._exchange()
            except EpochChanged:
                if not await self._declare():
                    return
            except StoreUnavailable as error:
                self._fail(error)
                return

    def _fail(self, error: StoreUnavailable) -> None:
        pending, self._pending = self._pending, deque()
        for decision in pending:
            self._refuse(decision, error)

    def _refuse(self, decision: _Decision, error: BaseException) -> None:
        if decision.answer is None:
            self._refilling.discard(decision.wanted[0].holding.at)
        elif not decision.answer.done():
            decision.answer.set_exception(error)

    async def _exchange(self) -> None:
        decisions = self._next_decisions()
        if not self.spendable():
            self._drop_spare()
        seen: set[int] = set()
        lines = [[self._line(wanted, seen) for wanted in decision.wanted] for decision in decisions]
        reports = self._reports(seen)
        batch = [*lines, *([report] for report in reports)]
        try:
            answer = await self._store.exchange(batch)
        except EpochChanged:
            self._pending.extendleft(reversed(decisions))
            self._dirty |= dict.fromkeys(seen)
            raise
        except StoreUnavailable as error:
            self._dirty |= dict.fromkeys(seen)
            for decision in decisions:
                self._refuse(decision, error)
            raise
        except BaseException:
            self._dirty |= dict.fromkeys(seen)
            for decision in decisions:
                self._refuse(decision, StoreUnavailable(Reason.ERROR))
            raise
        self._note_answer(answer)
        for decision, results in zip(decisions, answer.results, strict=False):
            if decision.answer is None:
                self._refilling.discard(decision.wanted[0].holding.at)
            elif not decision.answer.done():  # else whoever waited has gone, and what was granted is spare
                decision.answer.set_result(self._hold(decision.wanted, results))
        for sent, results in zip(batch, answer.results, strict=True):
            for line, result in zip(sent, results, strict=True):
                if line.kind != Kind.BUCKET:
                    self._take_result(line, result)

    def _next_decisions(self) -> list[_Decision]:
        decisions: list[_Decision] = []
        while self._pending and len(decisions) < BATCH_DECISIONS:
            decision = self._pending.popleft()
            if decision.answer is None or not decision.answer.done():
                decisions.append(decision)
        return decisions

    def _line(self, wanted: Wanted, seen: set[int]) -> Line:
        holding, place, need = wanted.holding, wanted.place, wanted.need
        demand = holding.demand
        limit = demand.amount if wanted.insists else -1
        want = need
        at = holding.at
        if demand.terms.accuracy is Accuracy.LEASED and limit > 0:
            if place.kind is Kind.BUCKET:
                want = max(need, place.lease)
            elif self._pressed.get(at, 0.0) < monotonic():
                want = need + max(_SLICE_CALLS * need, limit // _SLICE_PART)
        key = key_bytes(demand)
        if not at:
            return Line(key, place.kind, place.a, place.b, place.c, 0, limit, 0, 0, 0, need, want)
        seen.add(at)
        self._dirty.pop(at, None)
        cells = self._journal.cells
        used, held, granted = cells[at + USED], cells[at + HELD], cells[at + GRANTED]
        firm = used + held
        return Line(
            key, place.kind, place.a, place.b, place.c, holding.slot, limit, used, firm, max(firm, granted), need, want
        )

    def _reports(self, seen: set[int]) -> list[Line]:
        lines: list[Line] = []
        dirty = self._dirty
        while dirty and len(lines) < BATCH_REPORTS:
            at = next(iter(dirty))
            del dirty[at]
            seen.add(at)
            line = self._report_line(at)
            if line is not None:
                lines.append(line)
        return lines

    def _report_line(self, at: int) -> Line | None:
        cells = self._journal.cells
        kind = cells[at + KIND]
        bounds = self._places.report_bounds(kind, cells[at + WIDTH], cells[at + SLOT], cells[at + END])
        used, held, granted = cells[at + USED], cells[at + HELD], cells[at + GRANTED]
        key = key_bytes_of(cells[at + LOW], cells[at + HIGH])
        return Line(key, kind, *bounds, cells[at + SLOT], -1, used, used + held, max(used + held, granted), 0, 0)

    def _note_answer(self, answer: Answer) -> None:
        self.owners = answer.owners
        self._spend_until = self._store.state.confirmed_at + SPARE_SECONDS
        self._places.set_clock(answer.server_ms)
        self._journal.note(self._store.position)

    def _take_result(self, line: Line, result: Result) -> None:
        if result.status in (Status.REBUILDING, Status.BOUNDS_UNKNOWN):
            return
        low, high = digest_halves(line.key)
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
            self._return_spare(at)
        if at in self.known:
            self.fleet[at] = result.used
        watched = self.watched.get(at)
        if watched is not None and self._on_level is not None:
            self._on_level(watched, result.used, self._places.now_ms() / 1000)

    def _return_spare(self, at: int) -> None:
        cells = self._journal.cells
        firm = cells[at + USED] + cells[at + HELD]
        if cells[at + GRANTED] > firm:
            cells[at + GRANTED] = firm
            self._dirty[at] = None

    async def _declare(self) -> bool:
        """The store lost something: tell it all that the journal knows. False when it cannot be told."""
        rows = list(self._journal.rows())
        cells = self._journal.cells
        self._drop_spare()
        declared: list[Declared] = []
        for at in rows:
            kind = cells[at + KIND]
            bounds = self._places.report_bounds(kind, cells[at + WIDTH], cells[at + SLOT], cells[at + END])
            used, firm = cells[at + USED], cells[at + USED] + cells[at + HELD]
            declared.append(
                Declared(
                    key_bytes_of(cells[at + LOW], cells[at + HIGH]), kind, *bounds, cells[at + SLOT], -1,
                    used, firm, firm, firm + cells[at + OTHERS],
                )
            )  # fmt: skip
        known = self._store.known_owners or (None if self._journal.position.epoch else ())
        try:
            results = await self._store.declare(declared, known)
        except EpochChanged:
            return True
        except StoreUnavailable as error:
            self._fail(error)
            return False
        cells = self._journal.cells
        for at, result in zip(rows, results, strict=True):
            if result.slot == cells[at + SLOT]:
                cells[at + GRANTED] = result.granted
                cells[at + OTHERS] = max(0, result.slot_total - result.granted)
        self._journal.note(self._store.position)
        return True

    def _drop_spare(self) -> None:
        """What was leased may be somebody else's by now."""
        for at in self._journal.rows():
            self._return_spare(at)
        self._tokens.clear()

    async def _report(self) -> None:
        """Now and then: report, give back what lies idle, forget what is over."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            self._sweep()
            try:
                if (self._dirty or self._store.state.must_declare) and (self._pump is None or self._pump.done()):
                    self._pump = asyncio.get_running_loop().create_task(self._flush(), name="shared ledger report")
                    await asyncio.wait([self._pump])
                elif self._pump is not None and not self._pump.done():
                    await asyncio.wait([self._pump])
            except Exception:  # noqa: BLE001 - whatever the defect, reporting goes on; the log gets the cause
                _log.exception("reporting to the shared store failed, and goes on")

    async def _flush(self) -> None:
        left = len(self._dirty) + BATCH_REPORTS
        while (self._dirty and left > 0) or self._pending:
            left -= BATCH_REPORTS
            try:
                await self._exchange()
            except EpochChanged:
                if not await self._declare():
                    return
            except StoreUnavailable as error:
                self._fail(error)
                return

    def _sweep(self) -> None:
        cells = self._journal.cells
        now = self._places.now_ms()
        count = self._journal.count
        for _ in range(min(_SWEPT_ROWS, count)):
            self._sweep_row = (self._sweep_row + 1) % count
            at = self._journal.at(self._sweep_row)
            if not at:
                continue
            used, held = cells[at + USED], cells[at + HELD]
            firm = used + held
            end = cells[at + END]
            over = end < now if end else not (firm or cells[at + GRANTED]) and cells[at + SEEN] == 1
            if over and not held and at not in self._dirty:
                self._journal.drop(at)
                for table in (self.watched, self.known, self.fleet, self._pressed):
                    table.pop(at, None)
            elif cells[at + SEEN] == firm + 1:
                self._return_spare(at)
            cells[at + SEEN] = firm + 1
        moment = monotonic()
        for at in [at for at, until in self._pressed.items() if until < moment]:
            del self._pressed[at]


def _excess(demand: Demand, wanted: Wanted, result: Result) -> Excess:
    asked = wanted.holding.amount + wanted.need
    wait = inf if result.retry_ms < 0 else max(0.001, result.retry_ms / 1000)
    reset = wanted.place.b / 1000 if wanted.place.kind is Kind.WINDOW else time() + result.retry_ms / 1000
    return Excess(demand, result.total - wanted.holding.amount, demand.amount, asked, reset, wait)
