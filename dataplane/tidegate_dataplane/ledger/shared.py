"""Limits that all data planes keep together, through the shared store.

What this data plane may spend of a counter is `granted` by the store; what it has used or holds for calls in progress
is subtracted from that. With accuracy Exact it is granted just what each call needs, with Leased in slices, so that
most calls need not ask. Figures are absolute and live in the journal (see store/protocol.py for the rules).
"""

import asyncio
from collections.abc import Iterator, Sequence
from math import inf
from time import monotonic, time
from typing import Final

from msgspec.structs import replace

from tidegate_dataplane.ledger.demand import NOTHING, Amounts, Demand, Excess, Measure, StoreFailure, Terms
from tidegate_dataplane.ledger.exchanges import Exchanges
from tidegate_dataplane.ledger.holding import Holding, Wanted
from tidegate_dataplane.ledger.journal import GRANTED, HELD, LOW, OTHERS, SLOT, STATE, USED, Journal
from tidegate_dataplane.ledger.memory import MemoryLedger, OnLevel, charge
from tidegate_dataplane.ledger.places import Place, Places
from tidegate_dataplane.ledger.report import CounterReport, counter_report
from tidegate_dataplane.ledger.rows import Rows
from tidegate_dataplane.ledger.tokens import LeasedTokens
from tidegate_dataplane.snapshot.entries import Accuracy, FailureMode, MidStream
from tidegate_dataplane.store.protocol import MAX_AMOUNT, Kind, Status, Store, StoreUnavailable

# A member of an Enum costs a call of Python (3.11) each time that it is asked for by its class.
_EXACT: Final = Accuracy.EXACT
_CONCURRENT: Final = Measure.CONCURRENT
_ATTEMPTS: Final = 3
_REBUILT: Final = "it is being rebuilt"
_CLOCKS: Final = "its clock and the one here disagree"
# Less than so many calls like the last one spare: the next slice is drawn.
_AHEAD_CALLS: Final = 4


class SharedLedger:
    """Counts together with the other data planes. One event loop."""

    def __init__(self, store: Store, journal: Journal, *, on_level: OnLevel | None = None, replicas: int = 0) -> None:
        """`replicas` is how many data planes share a limit while the store is away; 0: as many as it last told of.
        `on_level` is told what all have used of a counter whose quota has thresholds."""
        self._store = store
        self._journal = journal
        self._replicas = replicas
        self._places = Places(time() - monotonic())
        self._tokens = LeasedTokens()
        self._rows = Rows(journal, self._places, on_level)
        self._exchanges = Exchanges(store, journal, self._rows, self._places, self._tokens)
        self._refusals = self._exchanges.refusals
        # Buckets whose failure mode is Local, while the store is away.
        self._alone = MemoryLedger()
        self.degraded = 0
        self._syncing: asyncio.Task[None] | None = None

    @property
    def counters(self) -> int:
        """Number of counters that this data plane has a part of."""
        return self._journal.live

    @property
    def durable(self) -> bool:
        """Whether its journal outlives the process."""
        return self._journal.path is not None

    @property
    def store(self) -> Store:
        return self._store

    @property
    def replicas(self) -> int:
        """Among how many data planes a limit is divided while the store is away; 0: nobody knows, since the store
        never told of any."""
        return self._replicas or self._journal.owners

    async def start(self) -> None:
        """Connect, and report from now on."""
        await self._exchanges.start()
        if self.durable:
            self._syncing = asyncio.create_task(self._journal.keep_on_disk(), name="usage journal")

    async def aclose(self) -> None:
        """Report what is not reported yet, if the store answers, and close the journal."""
        await self._exchanges.aclose()
        if self._syncing is not None:
            self._syncing.cancel()
            await asyncio.gather(self._syncing, return_exceptions=True)
        self._journal.close()

    def reports(self) -> Iterator[CounterReport]:
        """Counters of quotas in which something is used or held, by all data planes as far as is known here."""
        for at, demand in list(self._rows.known.items()):
            cells = self._journal.cells
            if cells[at + LOW] != demand.low or at not in self._rows.known:
                continue
            used = max(self._rows.fleet.get(at, 0), cells[at + USED])
            held = max(0, cells[at + GRANTED] + cells[at + OTHERS] - used)
            if used or held:
                yield counter_report(demand, used, held, self._places.of(demand).b / 1000)

    # Reserving

    def take_now(self, demands: Sequence[Demand], amounts: Amounts) -> list[Holding] | None:
        """Take from what is leased already; None when the store must be asked, and then nothing is taken."""
        if not self._exchanges.spendable():
            return None
        earliest, latest = self._places.between_ms()
        cells, rows = self._journal.cells, self._rows
        taken: list[Holding] = []
        for demand in demands:
            terms = demand.terms
            if terms.accuracy is _EXACT:
                break
            amount = amounts[terms.measure] if terms.program is None else terms.measured(amounts)
            if amount > MAX_AMOUNT:
                break
            if terms.rate:
                if not self._tokens.take(demand, amount):
                    break
                taken.append(Holding(demand, 0, 0, amount))
                continue
            spot = rows.spots.get(demand.low)
            if spot is None or spot.high != demand.high or not spot.begins <= earliest < spot.ends:
                spot = rows.spot(demand)
            if spot is None or latest >= spot.spent_by:
                break
            at = spot.at
            spare = cells[at + GRANTED] - cells[at + USED] - cells[at + HELD]
            if spare < amount:
                break
            cells[at + HELD] += amount
            taken.append(Holding(demand, at, spot.place.slot, amount))
            if spare < _AHEAD_CALLS * amount:
                self._exchanges.refill(demand, at, spot.place, amount)
        else:
            return taken
        for holding in taken:
            self._give_back(holding)
        return None

    async def take(self, demands: Sequence[Demand], amounts: Amounts) -> list[Holding] | Excess | StoreFailure:
        """Take from every counter, or from none and say which limit refuses."""
        refused = self._refusals.of(demands, amounts)
        if refused is not None:
            return refused
        for attempt in range(_ATTEMPTS):
            # What is spare is of no use when windows turn faster than the store answers.
            wanted, holdings = self._prepare(demands, amounts, spend=attempt < _ATTEMPTS - 1)
            try:
                outcome = await self._exchanges.ask(wanted)
            except StoreUnavailable as error:
                return self._without_store(wanted, holdings, _words(error))
            except BaseException:
                self._give_all_back(holdings)
                raise
            if outcome is None:
                return holdings
            if outcome is Status.REBUILDING:
                return self._without_store(wanted, holdings, _REBUILT)
            self._give_all_back(holdings)
            if isinstance(outcome, Excess):
                self._refusals.note(outcome)  # giving back its own part made it forgotten
                return outcome
        return self._without_store(*self._prepare(demands, amounts, spend=False), _CLOCKS)

    def _prepare(
        self, demands: Sequence[Demand], amounts: Amounts, *, spend: bool
    ) -> tuple[list[Wanted], list[Holding]]:
        """What is spare is held at once, so that no other call counts on it; the rest is to be asked for."""
        cells = self._journal.cells
        usable = spend and self._exchanges.spendable()
        wanted: list[Wanted] = []
        holdings: list[Holding] = []
        for demand in demands:
            amount = _measured(demand.terms, amounts)
            place = self._places.of(demand)
            if place.kind is Kind.BUCKET:
                need = 0 if self._tokens.take(demand, amount) else amount
                holding = Holding(demand, 0, 0, amount - need)
            else:
                at = self._rows.of(demand, place)
                cells = self._journal.cells
                spare = cells[at + GRANTED] - cells[at + USED] - cells[at + HELD]
                if not usable or not self._places.spendable(place):
                    spare = 0
                had = max(0, min(spare, amount))
                need = amount - had
                if not demand.obeyed:  # what only counts stops at the most that can be counted
                    need = min(need, max(0, MAX_AMOUNT - cells[at + USED] - cells[at + HELD]))
                cells[at + HELD] += had
                holding = Holding(demand, at, place.slot, had)
            holdings.append(holding)
            if need:
                wanted.append(Wanted(holding, place, need))
        return wanted, holdings

    def _without_store(
        self, wanted: list[Wanted], holdings: list[Holding], reason: str
    ) -> list[Holding] | Excess | StoreFailure:
        """What each limit says to do while the store is away."""
        cells = self._journal.cells
        for each in wanted:
            refused = self._refused_here(each, reason)
            if refused is not None:
                self._give_all_back(holdings)
                return refused
            holding = each.holding
            holding.unchecked = True
            if holding.at:
                holding.amount += each.need
                cells[holding.at + HELD] += each.need
        self.degraded += 1
        return holdings

    def _refused_here(self, wanted: Wanted, reason: str) -> Excess | StoreFailure | None:
        demand, at, need = wanted.holding.demand, wanted.holding.at, wanted.need
        terms = demand.terms
        if not demand.obeyed or terms.failure is FailureMode.OPEN:
            return None
        if terms.failure is FailureMode.CLOSED:
            return StoreFailure(demand, reason)
        if not self.replicas:
            return StoreFailure(demand, f"{reason}, and among how many to divide the limit is not known: --replicas")
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

    def deliver(self, holdings: Sequence[Holding], amounts: Amounts) -> None:
        """Note what was used so far, before it is passed on."""
        cells = self._journal.cells
        for holding in holdings:
            at, terms = holding.at, holding.demand.terms
            if not at or terms.measure is _CONCURRENT:
                continue
            used = _measured(holding.demand.terms, amounts) - holding.before
            more = used - holding.delivered
            if more > 0 and self._is_there(holding):
                cells[at + USED] = min(cells[at + USED] + more, MAX_AMOUNT)
                cells[at + HELD] -= max(0, min(more, holding.amount - holding.delivered))
                holding.delivered = used
                self._rows.dirty[at] = None

    async def extend(self, holdings: Sequence[Holding], amounts: Amounts) -> Excess | StoreFailure | None:
        """Reserve more for a call that turns out larger than was thought; nothing where a limit that ends streams
        refuses. Those that let them finish only count. It is taken from the window in which the call goes on."""
        wanted: list[Wanted] = []
        for holding in holdings:
            terms = holding.demand.terms
            holding.amount = max(holding.amount, holding.delivered)
            whole = _measured(holding.demand.terms, amounts)
            if not holding.at or whole - holding.before <= holding.amount or terms.measure is _CONCURRENT:
                continue
            place = self._places.of(holding.demand)
            if place.slot != holding.slot:
                self._turn(holding, place)
            ends = terms.mid_stream is MidStream.END
            wanted.append(Wanted(holding, place, whole - holding.before - holding.amount, insists=ends))
        try:
            outcome = await self._exchanges.ask(wanted)
        except StoreUnavailable as error:
            return self._more_alone(wanted, _words(error))
        if isinstance(outcome, Status):
            return self._more_alone(wanted, _REBUILT if outcome is Status.REBUILDING else _CLOCKS)
        return outcome

    def _more_alone(self, wanted: Sequence[Wanted], reason: str) -> Excess | StoreFailure | None:
        insisting = (each for each in wanted if each.insists)
        return next((refused for each in insisting if (refused := self._refused_here(each, reason))), None)

    def settle(self, holdings: Sequence[Holding], used: Amounts) -> int:
        """Replace what was reserved by what was used; returns what is charged beyond amounts, in micro-dollars."""
        overage = 0
        for holding in holdings:
            demand = holding.demand
            terms = demand.terms
            amount = 0 if terms.measure is _CONCURRENT else _measured(terms, used)
            self._close(holding, max(0, amount - holding.before))
            if terms.overage_price and holding.at:
                cells = self._journal.cells
                beyond = cells[holding.at + USED] + cells[holding.at + OTHERS] - demand.amount
                overage += charge(terms.overage_price, terms.unit, amount, beyond)
        return overage

    def release(self, holdings: Sequence[Holding]) -> None:
        """Give everything back: the call failed before anything was used."""
        for holding in holdings:
            self._close(holding, 0)

    def _close(self, holding: Holding, used: int) -> None:
        at, demand = holding.at, holding.demand
        if not at:
            return  # a bucket
        reserved, delivered = holding.amount, holding.delivered
        if not self._is_there(holding):
            self._charge_late(holding, used - delivered)
            return
        beyond = used - max(reserved, delivered)
        if beyond > 0:
            self._charge_late(holding, beyond)
        elif beyond:
            self._refusals.forget(demand)
        cells, rows = self._journal.cells, self._rows  # which may have grown
        present = min(cells[at + USED] + used - delivered, MAX_AMOUNT)
        held = cells[at + HELD] - max(0, reserved - delivered)
        cells[at + USED] = present
        cells[at + HELD] = held
        holding.amount = holding.delivered = used
        rows.dirty[at] = None
        if demand.terms.accuracy is _EXACT or rows.pressed(at):
            cells[at + GRANTED] = min(cells[at + GRANTED], present + held)

    def _is_there(self, holding: Holding) -> bool:
        """Whether its row is still its own: one of a window that is over is forgotten when nothing is held in it."""
        cells, at = self._journal.cells, holding.at
        return bool(cells[at + STATE]) and cells[at + LOW] == holding.demand.low and cells[at + SLOT] == holding.slot

    def _turn(self, holding: Holding, place: Place) -> None:
        """What was used stays where it is; what comes counts in the present window."""
        used = holding.delivered
        self._close(holding, used)
        holding.before += used
        holding.at, holding.slot = self._rows.of(holding.demand, place), place.slot
        holding.amount = holding.delivered = 0

    def _charge_late(self, holding: Holding, beyond: int) -> None:
        """What goes beyond the reservation counts in the present window when that of the call is over."""
        if beyond <= 0:
            return
        place = self._places.of(holding.demand)
        over = place.slot - holding.slot > place.b if place.kind is Kind.SLIDING else place.slot != holding.slot
        if over:
            at = self._rows.of(holding.demand, place)
            cells = self._journal.cells
            cells[at + USED] = min(cells[at + USED] + beyond, MAX_AMOUNT)
            self._rows.dirty[at] = None

    def _give_all_back(self, holdings: Sequence[Holding]) -> None:
        for holding in holdings:
            self._give_back(holding)

    def _give_back(self, holding: Holding) -> None:
        if holding.at:
            self._journal.cells[holding.at + HELD] -= holding.amount
            self._rows.dirty[holding.at] = None
            if holding.amount:
                self._refusals.forget(holding.demand)
        elif holding.amount:
            self._tokens.give_back(holding.demand, holding.amount)


def _measured(terms: Terms, amounts: Amounts) -> int:
    """How much of a limit a call counts: whatever an expression makes of it, no more than the store can count."""
    amount = amounts[terms.measure] if terms.program is None else terms.measured(amounts)
    return amount if amount < MAX_AMOUNT else MAX_AMOUNT


def _words(error: StoreUnavailable) -> str:
    return error.reason.value.replace("_", " ")
