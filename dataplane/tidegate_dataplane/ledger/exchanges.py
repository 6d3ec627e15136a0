"""The talk with the shared store: calls that need more, reports of what was used, and all of it after a loss.

Calls of one tick share a round trip; there is never more than one on its way. Figures are those of the moment at which
a batch is sent, and what an answer grants is held for its call before anything else happens.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from math import inf
from time import monotonic, time
from typing import Final

from msgspec.structs import replace

from tidegate_dataplane.ledger.demand import Demand, Excess
from tidegate_dataplane.ledger.holding import Holding, Outcome, Wanted
from tidegate_dataplane.ledger.journal import (
    GRANTED,
    HELD,
    USED,
    Journal,
)
from tidegate_dataplane.ledger.places import Place, Places, key_bytes
from tidegate_dataplane.ledger.refusals import Refusals
from tidegate_dataplane.ledger.rows import Rows
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
# However many limits a call has: the store does nothing else while it works on a batch.
BATCH_LINES: Final = 1_024
# About five milliseconds.
_ROWS_AT_ONCE: Final = 2_000
# How often what was settled is reported, and idle rows are looked at.
REPORT_SECONDS: Final = 0.1
# A slice: so many calls like this one, or this part of the limit, whichever is more.
_SLICE_CALLS: Final = 8
_SLICE_PART: Final = 256


class _Decision:
    """Lines that are granted together, and who waits for it (nobody: a slice drawn ahead)."""

    __slots__ = ("answer", "wanted")

    def __init__(self, wanted: list[Wanted], answer: "asyncio.Future[Outcome] | None") -> None:
        self.wanted = wanted
        self.answer = answer


class Exchanges:
    """Asks and tells the store, for one data plane."""

    def __init__(self, store: Store, journal: Journal, rows: Rows, places: Places, tokens: LeasedTokens) -> None:
        self.refusals = Refusals()
        self._store = store
        self._journal = journal
        self._rows = rows
        self._places = places
        self._tokens = tokens
        self._pending: deque[_Decision] = deque()
        self._refilling: set[int] = set()
        self._pump: asyncio.Task[None] | None = None
        self._timer: asyncio.Task[None] | None = None
        self._has_spare = False
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
            # What the store does not take now, it will not take a moment later.
            for _ in range(0, len(self._rows.dirty), BATCH_REPORTS):
                await self._exchange()
        except (StoreUnavailable, EpochChanged):
            pass
        finally:
            await self._store.aclose()

    def spendable(self) -> bool:
        """Whether what is leased may still be spent."""
        return monotonic() <= self._spend_until

    async def ask(self, wanted: list[Wanted]) -> Outcome:
        """Have more granted, all of it or nothing; then it is held. Raises StoreUnavailable."""
        if not wanted:
            return None
        state = self._store.state
        if not state.connected:
            raise StoreUnavailable(state.reason)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._pending.append(_Decision(wanted, answer))
        asked, rows = self._rows.asked, [each.holding.at for each in wanted]
        for at in rows:
            asked[at] = asked.get(at, 0) + 1
        self._wake()
        try:
            return await answer
        finally:
            for at in rows:
                asked[at] -= 1
                if not asked[at]:
                    del asked[at]

    def refill(self, demand: Demand, at: int, place: Place, amount: int) -> None:
        """Draw the next slice before this one is used up."""
        if at in self._refilling or self._rows.pressed(at):
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
            self.refusals.note(refused)
            return refused
        turned = [
            (each, result.slot)
            for each, result in zip(wanted, results, strict=True)
            if each.holding.at and result.slot != each.holding.slot
        ]
        if any(each.holding.amount for each, _ in turned):
            return Status.BOUNDS_UNKNOWN  # a window ended on the way; what is granted is spare in the new one
        for each, slot in turned:
            self._move(each, slot)
        cells = self._journal.cells
        for each, result in zip(wanted, results, strict=True):
            holding = each.holding
            if holding.at:
                holding.amount += each.need
                cells[holding.at + HELD] += each.need
                continue
            holding.amount = each.need
            if result.granted > each.need:
                lives = self._store.state.confirmed_at + each.place.c / 1_000_000
                self._tokens.put(holding.demand, result.granted - each.need, lives)
        return None

    def _move(self, wanted: Wanted, slot: int) -> None:
        """The window turned while the question was on its way: all of it is held in the new one."""
        place = wanted.place
        wanted.place = replace(place, slot=slot, ends=self._places.ends(place.kind, slot, place.a, place.c))
        wanted.holding.slot = slot
        wanted.holding.at = self._rows.of(wanted.holding.demand, wanted.place)

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
            if not await self._exchange_or_declare():
                return

    async def _exchange_or_declare(self) -> bool:
        """False when the store is away; then nobody waits any more."""
        try:
            await self._exchange()
        except EpochChanged:
            return await self._declare()
        except StoreUnavailable as error:
            self._fail(error)
            return False
        except Exception:  # noqa: BLE001 - a defect; nobody may wait for an answer that never comes
            _log.exception("an exchange with the shared store failed")
            self._fail(StoreUnavailable(Reason.ERROR))
            return False
        return True

    def _fail(self, error: StoreUnavailable) -> None:
        pending, self._pending = self._pending, deque()
        self._refuse_all(pending, error)

    def _refuse_all(self, decisions: Iterable[_Decision], error: BaseException) -> None:
        told = error if isinstance(error, StoreUnavailable) else StoreUnavailable(Reason.ERROR)
        for decision in decisions:
            if decision.answer is None:
                self._refilling.discard(decision.wanted[0].holding.at)
            elif not decision.answer.done():
                decision.answer.set_exception(told)

    async def _exchange(self) -> None:
        decisions = self._next_decisions()
        if not self.spendable():
            self._drop_spare()
        seen: set[int] = set()
        lines = [[self._line(wanted, seen) for wanted in decision.wanted] for decision in decisions]
        reports = self._rows.reports(seen, BATCH_REPORTS)
        batch = [*lines, *([report] for report in reports)]
        try:
            answer = await self._store.exchange(batch)
        except EpochChanged:
            self._pending.extendleft(reversed(decisions))
            self._rows.dirty |= dict.fromkeys(seen)
            raise
        except BaseException as error:
            self._rows.dirty |= dict.fromkeys(seen)
            self._refuse_all(decisions, error)
            raise
        try:
            self._take_answer(decisions, batch, answer)
        except BaseException as error:
            self._refuse_all(decisions, error)
            raise

    def _take_answer(self, decisions: list[_Decision], batch: list[list[Line]], answer: Answer) -> None:
        self._note_answer(answer)
        for decision, results in zip(decisions, answer.results, strict=False):
            if decision.answer is None:
                self._refilling.discard(decision.wanted[0].holding.at)
            elif not decision.answer.done():  # else whoever waited has gone, and what was granted is spare
                decision.answer.set_result(self._hold(decision.wanted, results))
        for sent, results in zip(batch, answer.results, strict=True):
            for line, result in zip(sent, results, strict=True):
                if line.kind != Kind.BUCKET:
                    self._rows.take(line, result)

    def _next_decisions(self) -> list[_Decision]:
        decisions: list[_Decision] = []
        lines = 0
        while self._pending and len(decisions) < BATCH_DECISIONS:
            decision = self._pending[0]
            if not self._is_answered(decision):
                lines += len(decision.wanted)
                if lines > BATCH_LINES and decisions:
                    break
                decisions.append(decision)
            self._pending.popleft()
        return decisions

    def _is_answered(self, decision: _Decision) -> bool:
        """Nobody waits any more, or what the store said meanwhile to others holds for it too."""
        answer = decision.answer
        if answer is None or answer.done():
            return answer is not None
        for each in decision.wanted:
            refused = self.refusals.of_one(each.holding.demand, each.holding.amount + each.need)
            if refused is not None and each.insists:
                answer.set_result(refused)
                return True
        return False

    def _line(self, wanted: Wanted, seen: set[int]) -> Line:
        holding, place, need = wanted.holding, wanted.place, wanted.need
        demand = holding.demand
        limit = demand.amount if wanted.insists else -1
        want = need
        at = holding.at
        if demand.terms.accuracy is Accuracy.LEASED and limit > 0:
            if place.kind is Kind.BUCKET:
                want = max(need, place.lease)
            elif not self._rows.pressed(at):
                want = need + max(_SLICE_CALLS * need, limit // _SLICE_PART)
        key = key_bytes(demand)
        if not at:
            return Line(key, place.kind, place.a, place.b, place.c, 0, limit, 0, 0, 0, need, want)
        seen.add(at)
        self._rows.dirty.pop(at, None)
        cells = self._journal.cells
        used, held, granted = cells[at + USED], cells[at + HELD], cells[at + GRANTED]
        firm = used + held
        return Line(
            key, place.kind, place.a, place.b, place.c, holding.slot, limit, used, firm, max(firm, granted), need, want
        )

    def _note_answer(self, answer: Answer) -> None:
        self._journal.owners = answer.owners
        self._spend_until = self._store.state.confirmed_at + SPARE_SECONDS
        self._has_spare = True
        self._places.set_clock(answer.server_ms, self._store.state.confirmed_at)
        self._journal.note(self._store.position)

    async def _declare(self) -> bool:
        """The store lost something: tell it all that the journal knows. False when it cannot be told."""
        self._drop_spare()
        rows: list[int] = []
        declared: list[Declared] = []
        for at, row in self._rows.declared():
            rows.append(at)
            declared.append(row)
            if not len(rows) % _ROWS_AT_ONCE:
                await asyncio.sleep(0)  # calls go on meanwhile
        known = self._store.known_owners or (None if self._journal.position.epoch else ())
        try:
            results = await self._store.declare(declared, known)
        except EpochChanged:
            return True
        except StoreUnavailable as error:
            self._fail(error)
            return False
        self._rows.take_declared(rows, results)
        self._journal.note(self._store.position)
        return True

    def _drop_spare(self) -> None:
        """Once for each time that the store is away for long, or lost: there may be many rows."""
        if self._has_spare:
            self._has_spare = False
            self._rows.return_all_spare()
            self._tokens.clear()

    async def _report(self) -> None:
        """Now and then: report, give back what lies idle, forget what is over."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            self._rows.sweep()
            if not self._store.state.connected:
                continue
            try:
                if (self._rows.dirty or self._store.state.must_declare) and (self._pump is None or self._pump.done()):
                    self._pump = asyncio.get_running_loop().create_task(self._flush(), name="shared ledger report")
                    await asyncio.wait([self._pump])
                elif self._pump is not None and not self._pump.done():
                    await asyncio.wait([self._pump])
            except Exception:  # noqa: BLE001 - whatever the defect, reporting goes on; the log gets the cause
                _log.exception("reporting to the shared store failed, and goes on")

    async def _flush(self) -> None:
        left = len(self._rows.dirty) + BATCH_REPORTS
        while (self._rows.dirty and left > 0) or self._pending:
            left -= BATCH_REPORTS
            if not await self._exchange_or_declare():
                return


def _excess(demand: Demand, wanted: Wanted, result: Result) -> Excess:
    asked = wanted.holding.amount + wanted.need
    wait = inf if result.retry_ms < 0 else max(0.001, result.retry_ms / 1000)
    reset = wanted.place.b / 1000 if wanted.place.kind is Kind.WINDOW else time() + result.retry_ms / 1000
    return Excess(demand, result.total - wanted.holding.amount, demand.amount, asked, reset, wait)
