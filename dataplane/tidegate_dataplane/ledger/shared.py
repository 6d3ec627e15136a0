"""Limits that all data planes keep together, through the shared store.

What this data plane may spend of a counter is `granted` by the store; what it has used or holds for calls in progress
is subtracted from that. With accuracy Exact it is granted just what each call needs, with Leased in slices, so that
most calls need not ask. Figures are absolute and live in the journal (see store/protocol.py for the rules).

One event loop. Calls of one tick share a round trip; there is never more than one on its way.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from math import inf
from time import monotonic, time
from typing import Final

from msgspec.structs import replace

from tidegate_dataplane.ledger.demand import NOTHING, Amounts, Demand, Excess, Measure, StoreFailure
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
from tidegate_dataplane.ledger.memory import MemoryLedger, OnLevel, charge
from tidegate_dataplane.ledger.places import Place, Places, digest_halves, key_bytes, key_bytes_of
from tidegate_dataplane.ledger.report import CounterReport, counter_report
from tidegate_dataplane.snapshot.entries import Accuracy, FailureMode
from tidegate_dataplane.store.protocol import (
    SPARE_SECONDS,
    Answer,
    Declared,
    EpochChanged,
    Kind,
    Line,
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
_ATTEMPTS: Final = 3
_REPORTED: Final = 10_000


class Holding:
    """What a call holds of one counter: `amount` is reserved, of which `delivered` is used already; `unchecked` when
    the store could not be asked."""

    __slots__ = ("amount", "at", "delivered", "demand", "slot", "unchecked")

    def __init__(self, demand: Demand, at: int, slot: int, amount: int) -> None:
        self.demand = demand
        self.at = at
        self.slot = slot
        self.amount = amount
        self.delivered = 0
        self.unchecked = False


class _Wanted:
    """One line to be: so much of a counter; the holding has what was spare already."""

    __slots__ = ("holding", "need", "place")

    def __init__(self, holding: Holding, place: Place, need: int) -> None:
        self.holding = holding
        self.place = place
        self.need = need


# None: granted. A status: worth asking again, or not to be had while the store is rebuilt.
_Outcome = Excess | Status | None


class _Decision:
    """Lines that are granted together, and who waits for it (nobody: a slice drawn ahead)."""

    __slots__ = ("answer", "wanted")

    def __init__(self, wanted: list[_Wanted], answer: "asyncio.Future[_Outcome] | None") -> None:
        self.wanted = wanted
        self.answer = answer


class SharedLedger:
    """Counts together with the other data planes. `on_level` is told what all have used of a counter with alerts."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        *,
        on_level: OnLevel | None = None,
        replicas: int = 0,
    ) -> None:
        """`replicas` is how many data planes share a limit while the store is away; 0: as many as it last told of."""
        self._store = store
        self._journal = journal
        self._on_level = on_level
        self._replicas = replicas
        self._owners = 1
        self._places = Places(time() - monotonic())
        self._pending: deque[_Decision] = deque()
        self._dirty: dict[int, None] = dict.fromkeys(journal.rows())
        self._pressed: dict[int, float] = {}
        self._refilling: set[int] = set()
        self._tokens: dict[bytes, tuple[int, float]] = {}
        # Demands of rows, by where they begin: of those that have thresholds, and of some for whoever asks.
        self._watched: dict[int, Demand] = {}
        self._known: dict[int, Demand] = {}
        self._fleet: dict[int, int] = {}
        # Buckets whose failure mode is Local, while the store is away.
        self._alone = MemoryLedger()
        self._pump: asyncio.Task[None] | None = None
        self._timer: asyncio.Task[None] | None = None
        self._sweep_row = 0
        self.degraded = 0
        store.on_epoch_changed(self._wake)

    @property
    def counters(self) -> int:
        """Number of counters that this data plane has a part of."""
        return self._journal.live

    @property
    def store(self) -> Store:
        return self._store

    @property
    def replicas(self) -> int:
        """Among how many data planes a limit is divided while the store is away."""
        return self._replicas or max(1, self._owners)

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
        self._journal.close()

    def reports(self) -> Iterator[CounterReport]:
        """Counters of quotas in which something is used or held, by all data planes as far as is known here."""
        for at, demand in list(self._known.items()):
            cells = self._journal.cells
            if cells[at + LOW] != demand.low or at not in self._known:
                continue
            used = max(self._fleet.get(at, 0), cells[at + USED])
            held = max(0, cells[at + GRANTED] + cells[at + OTHERS] - used)
            if used or held:
                yield counter_report(demand, used, held, self._places.of(demand).b / 1000)

    # Reserving

    def take_now(self, demands: Sequence[Demand], amounts: Amounts) -> list[Holding] | None:
        """Take from what is leased already; None when the store must be asked, and then nothing is taken."""
        state = self._store.state
        if monotonic() > state.confirmed_at + SPARE_SECONDS or state.must_declare:
            return None
        cells = self._journal.cells
        places, find = self._places, self._journal.find
        taken: list[Holding] = []
        for demand in demands:
            terms = demand.terms
            if terms.accuracy is Accuracy.EXACT:
                break
            amount = amounts[terms.measure] if terms.program is None else terms.measured(amounts)
            place = places.of(demand)
            if place.kind is Kind.BUCKET:
                if not self._take_tokens(demand, amount):
                    break
                taken.append(Holding(demand, 0, 0, amount))
                continue
            at = find(demand.low, demand.high, place.slot)
            if not at:
                break
            spare = cells[at + GRANTED] - cells[at + USED] - cells[at + HELD]
            if spare < amount:
                break
            cells[at + HELD] += amount
            taken.append(Holding(demand, at, place.slot, amount))
            if spare < 4 * amount and at not in self._refilling:
                self._refill(demand, at, place, amount)
        else:
            return taken
        for holding in taken:
            self._give_back(holding)
        return None

    async def take(self, demands: Sequence[Demand], amounts: Amounts) -> "list[Holding] | Excess | StoreFailure":
        """Take from every counter, or from none and say which limit refuses."""
        for _ in range(_ATTEMPTS):
            wanted, holdings = self._prepare(demands, amounts)
            try:
                outcome = await self._ask(wanted)
            except StoreUnavailable as error:
                return self._without_store(wanted, holdings, error.reason.value.replace("_", " "))
            except BaseException:
                self._give_all_back(holdings)
                raise
            if outcome is None:
                return holdings
            if outcome is Status.REBUILDING:
                return self._without_store(wanted, holdings, "it is being rebuilt")
            self._give_all_back(holdings)
            if isinstance(outcome, Excess):
                return outcome
        return StoreFailure(demands[0], "its clock and the one here disagree")

    def _prepare(self, demands: Sequence[Demand], amounts: Amounts) -> tuple[list[_Wanted], list[Holding]]:
        """What is spare is held at once, so that no other call counts on it; the rest is to be asked for."""
        cells = self._journal.cells
        usable = monotonic() <= self._store.state.confirmed_at + SPARE_SECONDS
        wanted: list[_Wanted] = []
        holdings: list[Holding] = []
        for demand in demands:
            amount = demand.terms.measured(amounts)
            place = self._places.of(demand)
            if place.kind is Kind.BUCKET:
                holding = Holding(demand, 0, 0, amount)
                need = 0 if self._take_tokens(demand, amount) else amount
            else:
                at = self._row(demand, place)
                cells = self._journal.cells
                spare = max(0, cells[at + GRANTED] - cells[at + USED] - cells[at + HELD]) if usable else 0
                had = min(spare, amount)
                need = amount - had
                cells[at + HELD] += had
                holding = Holding(demand, at, place.slot, had)
            holdings.append(holding)
            if need:
                wanted.append(_Wanted(holding, place, need))
        return wanted, holdings

    async def _ask(self, wanted: list[_Wanted]) -> _Outcome:
        if not wanted:
            return None
        state = self._store.state
        if not state.connected:
            raise StoreUnavailable(state.reason)
        answer: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        self._pending.append(_Decision(wanted, answer))
        self._wake()
        return await answer

    def _hold(self, wanted: list[_Wanted], results: list[Result]) -> _Outcome:
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
                self._tokens[key_bytes(holding.demand)] = (result.granted - each.need, lives)
        return None

    def _without_store(
        self, wanted: list[_Wanted], holdings: list[Holding], reason: str
    ) -> "list[Holding] | Excess | StoreFailure":
        """What each limit says to do while the store is away."""
        cells = self._journal.cells
        for each in wanted:
            refused = self._refused_here(each, reason)
            if refused is not None:
                self._give_all_back(holdings)
                return refused
            each.holding.amount += each.need if each.holding.at else 0
            each.holding.unchecked = True
            if each.holding.at:
                cells[each.holding.at + HELD] += each.need
        self.degraded += 1
        return holdings

    def _refused_here(self, wanted: _Wanted, reason: str) -> "Excess | StoreFailure | None":
        demand, at, need = wanted.holding.demand, wanted.holding.at, wanted.need
        terms = demand.terms
        if not demand.obeyed or terms.failure is FailureMode.OPEN:
            return None
        if terms.failure is FailureMode.CLOSED:
            return StoreFailure(demand, reason)
        part = replace(demand, amount=max(0, demand.amount * terms.safe_share // 100 // self.replicas))
        if not at:
            rate = terms.rate * terms.safe_share / 100 / self.replicas
            part = replace(part, amount=max(1, part.amount), terms=replace(terms, rate=max(rate, 1e-9)))
            taken = self._alone.take((part,), (need, *NOTHING[1:]), time())
            return taken if isinstance(taken, Excess) else None
        cells = self._journal.cells
        used = cells[at + USED] + cells[at + HELD]
        if used + need <= part.amount:
            return None
        end = wanted.place.b / 1000 if wanted.place.kind is Kind.WINDOW else time() + 1
        return Excess(part, used, part.amount, need, end, inf if need > part.amount else max(1.0, end - time()))

    # Settling

    def deliver(self, holdings: Sequence[Holding], amounts: Amounts) -> bool:
        """Note what was used so far, before it is passed on; False when that is more than was reserved."""
        cells = self._journal.cells
        enough = True
        for holding in holdings:
            at, terms = holding.at, holding.demand.terms
            if not at or terms.measure is Measure.CONCURRENT:
                continue
            used = amounts[terms.measure] if terms.program is None else terms.measured(amounts)
            more = used - holding.delivered
            if more > 0 and cells[at + SLOT] == holding.slot and cells[at + LOW] == holding.demand.low:
                cells[at + USED] += more
                cells[at + HELD] -= max(0, min(more, holding.amount - holding.delivered))
                holding.delivered = used
                self._dirty[at] = None
                if used > holding.amount:
                    enough = False
        return enough

    async def extend(self, holdings: Sequence[Holding], amounts: Amounts) -> "Excess | StoreFailure | None":
        """Reserve more for a call that turns out larger than was thought; nothing where a limit refuses."""
        wanted: list[_Wanted] = []
        for holding in holdings:
            holding.amount = max(holding.amount, holding.delivered)
            more = holding.demand.terms.measured(amounts) - holding.amount
            if holding.at and more > 0 and holding.demand.terms.measure is not Measure.CONCURRENT:
                wanted.append(_Wanted(holding, self._places.of(holding.demand), more))
        try:
            outcome = await self._ask(wanted)
        except StoreUnavailable as error:
            for each in wanted:
                refused = self._refused_here(each, error.reason.value.replace("_", " "))
                if refused is not None:
                    return refused
            return None
        return outcome if isinstance(outcome, Excess) else None

    def settle(self, holdings: Sequence[Holding], used: Amounts) -> int:
        """Replace what was reserved by what was used; returns what is charged beyond amounts, in micro-dollars."""
        overage = 0
        cells = self._journal.cells
        for holding in holdings:
            demand = holding.demand
            terms = demand.terms
            amount = 0 if terms.measure is Measure.CONCURRENT else terms.measured(used)
            self._close(holding, amount)
            if terms.overage_price and holding.at:
                beyond = cells[holding.at + USED] + cells[holding.at + OTHERS] - demand.amount
                overage += charge(terms.overage_price, terms.unit, amount, beyond)
        return overage

    def release(self, holdings: Sequence[Holding]) -> None:
        """Give everything back: the call failed before anything was used."""
        for holding in holdings:
            self._close(holding, 0)

    def _close(self, holding: Holding, used: int) -> None:
        at = holding.at
        cells = self._journal.cells
        if not at or cells[at + SLOT] != holding.slot or cells[at + LOW] != holding.demand.low:
            return  # a bucket, or the window is over and forgotten
        beyond = used - max(holding.amount, holding.delivered)
        cells[at + USED] += used - holding.delivered
        cells[at + HELD] -= max(0, holding.amount - holding.delivered)
        if beyond > 0 and cells[at + KIND] == Kind.WINDOW:
            self._charge_late(holding, beyond)
        holding.amount = holding.delivered = used
        self._dirty[at] = None
        if holding.demand.terms.accuracy is Accuracy.EXACT or at in self._pressed:
            cells[at + GRANTED] = min(cells[at + GRANTED], cells[at + USED] + cells[at + HELD])

    def _charge_late(self, holding: Holding, beyond: int) -> None:
        """What goes beyond the reservation counts in the present window when that of the call is over."""
        place = self._places.of(holding.demand)
        if place.slot != holding.slot:
            at = self._row(holding.demand, place)
            self._journal.cells[at + USED] += beyond
            self._dirty[at] = None

    def _give_all_back(self, holdings: Sequence[Holding]) -> None:
        for holding in holdings:
            self._give_back(holding)

    def _give_back(self, holding: Holding) -> None:
        if holding.at:
            self._journal.cells[holding.at + HELD] -= holding.amount
            self._dirty[holding.at] = None
        elif holding.amount:
            key = key_bytes(holding.demand)
            tokens, lives = self._tokens.get(key, (0, 0.0))
            if lives > monotonic():
                self._tokens[key] = (tokens + holding.amount, lives)

    def _take_tokens(self, demand: Demand, amount: int) -> bool:
        if not self._tokens:
            return False
        key = key_bytes(demand)
        tokens, lives = self._tokens.get(key, (0, 0.0))
        if tokens < amount or lives <= monotonic():
            return False
        if tokens == amount:
            del self._tokens[key]
        else:
            self._tokens[key] = (tokens - amount, lives)
        return True

    # Rows

    def _row(self, demand: Demand, place: Place) -> int:
        at = self._journal.find(demand.low, demand.high, place.slot)
        if not at:
            at = self._journal.add(demand.low, demand.high, place.slot, place.kind, place.a, place.ends)
        if demand.terms.alert is not None:
            self._watched[at] = demand
        if not demand.terms.rate and (at in self._known or len(self._known) < _REPORTED):
            self._known[at] = demand
        return at

    def _refill(self, demand: Demand, at: int, place: Place, amount: int) -> None:
        """Draw the next slice before this one is used up."""
        if at in self._pressed:
            return
        self._refilling.add(at)
        self._pending.append(_Decision([_Wanted(Holding(demand, at, place.slot, 0), place, max(1, amount))], None))
        self._wake()

    # Talking to the store

    def _wake(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._work(), name="shared ledger exchange")

    async def _work(self) -> None:
        """Exchange until nobody waits any more."""
        while self._pending or self._store.state.must_declare:
            try:
                await self._exchange()
            except EpochChanged:
                await self._declare()
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
        if monotonic() > self._store.state.confirmed_at + SPARE_SECONDS:
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
                self._refuse(decision, asyncio.CancelledError())
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

    def _line(self, wanted: _Wanted, seen: set[int]) -> Line:
        holding, place, need = wanted.holding, wanted.place, wanted.need
        demand = holding.demand
        limit = demand.amount if demand.obeyed else -1
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
        self._owners = answer.owners
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
        if at in self._known:
            self._fleet[at] = result.used
        watched = self._watched.get(at)
        if watched is not None and self._on_level is not None:
            self._on_level(watched, result.used, self._places.now_ms() / 1000)

    def _return_spare(self, at: int) -> None:
        cells = self._journal.cells
        firm = cells[at + USED] + cells[at + HELD]
        if cells[at + GRANTED] > firm:
            cells[at + GRANTED] = firm
            self._dirty[at] = None

    async def _declare(self) -> None:
        """The store lost something: tell it all that the journal knows."""
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
            return
        cells = self._journal.cells
        for at, result in zip(rows, results, strict=True):
            if result.slot == cells[at + SLOT]:
                cells[at + GRANTED] = result.granted
                cells[at + OTHERS] = max(0, result.slot_total - result.granted)
        self._journal.note(self._store.position)

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
                try:
                    await self._declare()
                except StoreUnavailable as error:
                    self._fail(error)
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
            if end and end < now and not held and at not in self._dirty:
                self._journal.drop(at)
                for table in (self._watched, self._known, self._fleet, self._pressed):
                    table.pop(at, None)
            elif cells[at + SEEN] == firm + 1:
                self._return_spare(at)
            cells[at + SEEN] = firm + 1
        moment = monotonic()
        for at in [at for at, until in self._pressed.items() if until < moment]:
            del self._pressed[at]


def _excess(demand: Demand, wanted: _Wanted, result: Result) -> Excess:
    asked = wanted.holding.amount + wanted.need
    wait = inf if result.retry_ms < 0 else max(0.001, result.retry_ms / 1000)
    reset = wanted.place.b / 1000 if wanted.place.kind is Kind.WINDOW else time() + result.retry_ms / 1000
    return Excess(demand, result.total - wanted.holding.amount, demand.amount, asked, reset, wait)
