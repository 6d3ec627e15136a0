"""The ledger of one data plane: limits that it counts by itself, and limits that all data planes count together."""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from tidegate_dataplane.ledger.demand import Amounts, Demand, Excess, Measure, StoreFailure
from tidegate_dataplane.ledger.holding import Holding
from tidegate_dataplane.ledger.memory import MemoryLedger, OnLevel, Taken
from tidegate_dataplane.ledger.report import CounterReport
from tidegate_dataplane.ledger.shared import SharedLedger
from tidegate_dataplane.snapshot.entries import Accuracy, FailureMode

# A member of an Enum costs a call of Python (3.11) each time that it is asked for by its class.
_LOCAL: Final = Accuracy.LOCAL
_TOKENS: Final = Measure.TOKENS
NO_STORE = "this data plane was started without --store"


class Reservation(Struct, eq=False, gc=False):
    """What a call holds until it is settled or released. `exceeded` are limits that it goes over and need not obey.

    `degraded`: the shared store was away, and limits let it pass by what they say for that case.
    """

    request_id: str
    amounts: Amounts
    taken: Taken
    holdings: list[Holding]
    open: bool = True
    degraded: bool = False

    @property
    def exceeded(self) -> tuple[Excess, ...]:
        return self.taken.exceeded

    @property
    def demands(self) -> tuple[Demand, ...]:
        """All that it passed."""
        return (*self.taken.demands, *(holding.demand for holding in self.holdings))


Found = Reservation | Excess | StoreFailure


class Ledger:
    """Reserves before a call, settles after it. `overshoot_tokens` adds up what calls used beyond their reservations,
    `overage` what was charged beyond amounts, in micro-dollars. `shared` is None without a store."""

    __slots__ = ("_open", "local", "overage", "overshoot_tokens", "shared")

    def __init__(self, shared: SharedLedger | None = None, on_level: OnLevel | None = None) -> None:
        self.local = MemoryLedger(on_level)
        self.shared = shared
        self._open: dict[str, Reservation] = {}
        self.overshoot_tokens = 0
        self.overage = 0

    @property
    def counters(self) -> int:
        """Number of counters in memory."""
        return self.local.counters + (0 if self.shared is None else self.shared.counters)

    @property
    def durable(self) -> bool:
        """Whether what is delivered stays noted should the process be killed."""
        return self.shared is not None and self.shared.durable

    @property
    def outstanding(self) -> int:
        """Number of reservations that are neither settled nor released."""
        return len(self._open)

    def reserve(self, request_id: str, demands: Sequence[Demand], amounts: Amounts, now: float) -> Found | None:
        """Take what the call may use from every counter, or from none and say which limit refuses.

        None when the shared store must be asked: then nothing is taken, and `acquire` does it. A request id that holds
        a reservation already gets the same one again. `demands` has the shared ones last.
        """
        present = self._open.get(request_id)
        if present is not None:
            return present
        holdings: list[Holding] = []
        if demands and demands[-1].terms.accuracy is not _LOCAL:
            demands, together = _split(demands)
            if self.shared is None:
                taken = _without_store(together)
                if taken is not None:
                    return taken
            else:
                found = self.shared.take_now(together, amounts)
                if found is None:
                    return None
                holdings = found
        return self._hold(request_id, demands, amounts, holdings, now)

    async def acquire(self, request_id: str, demands: Sequence[Demand], amounts: Amounts, now: float) -> Found:
        """As `reserve`, asking the shared store."""
        present = self._open.get(request_id)
        if present is not None:
            return present
        alone, together = _split(demands)
        if not together or self.shared is None:
            return _without_store(together) or self._hold(request_id, alone, amounts, [], now)
        taken = self.local.take(alone, amounts, now)
        if isinstance(taken, Excess):
            return taken
        try:
            holdings = await self.shared.take(together, amounts)
        except BaseException:
            self.local.release(taken)
            raise
        if not isinstance(holdings, list):
            self.local.release(taken)
            return holdings
        reservation = self._open[request_id] = Reservation(request_id, amounts, taken, holdings)
        reservation.degraded = any(holding.unchecked for holding in holdings)
        return reservation

    def _hold(
        self, request_id: str, alone: Sequence[Demand], amounts: Amounts, holdings: list[Holding], now: float
    ) -> Reservation | Excess:
        taken = self.local.take(alone, amounts, now)
        if isinstance(taken, Excess):
            if holdings and self.shared is not None:
                self.shared.release(holdings)
            return taken
        reservation = self._open[request_id] = Reservation(request_id, amounts, taken, holdings)
        return reservation

    def deliver(self, reservation: Reservation, amounts: Amounts) -> None:
        """Note what was used so far, before it is passed on: it stays noted should the process be killed."""
        if reservation.holdings and self.shared is not None:
            self.shared.deliver(reservation.holdings, amounts)

    async def extend(self, reservation: Reservation, amounts: Amounts, now: float) -> Excess | StoreFailure | None:
        """Reserve `amounts` in all, for a call that turns out larger than was thought; else why not."""
        refused: Excess | StoreFailure | None = self.local.extend(reservation.taken, amounts, now)
        if refused is None and reservation.holdings and self.shared is not None:
            refused = await self.shared.extend(reservation.holdings, amounts)
        if refused is None:
            reservation.amounts = amounts
        return refused

    def settle(self, reservation: Reservation, used: Amounts, now: float) -> int:
        """Replace what was reserved by what was used; returns what is charged beyond amounts, in micro-dollars.

        Charged to the window in which the call came. Settling or releasing again changes nothing.
        """
        if not self._close(reservation):
            return 0
        overage = self.local.settle(reservation.taken, used, now)
        if reservation.holdings and self.shared is not None:
            overage += self.shared.settle(reservation.holdings, used)
        self.overshoot_tokens += max(0, used[_TOKENS] - reservation.amounts[_TOKENS])
        self.overage += overage
        return overage

    def release(self, reservation: Reservation) -> None:
        """Give everything back: the call failed before anything was used."""
        if not self._close(reservation):
            return
        self.local.release(reservation.taken)
        if reservation.holdings and self.shared is not None:
            self.shared.release(reservation.holdings)

    def reports(self) -> Iterator[CounterReport]:
        """All counters of quotas in which something is used or held, one at a time."""
        yield from self.local.reports()
        if self.shared is not None:
            yield from self.shared.reports()

    def _close(self, reservation: Reservation) -> bool:
        if not reservation.open:
            return False
        reservation.open = False
        self._open.pop(reservation.request_id, None)
        return True


def _split(demands: Sequence[Demand]) -> tuple[Sequence[Demand], Sequence[Demand]]:
    """Those counted here, and those counted together."""
    for place, demand in enumerate(demands):
        if demand.terms.accuracy is not _LOCAL:
            return demands[:place], demands[place:]
    return demands, ()


def _without_store(demands: Sequence[Demand]) -> StoreFailure | None:
    """Shared limits need a store: without one, only those pass that open when it is away."""
    for demand in demands:
        if demand.obeyed and demand.terms.failure is not FailureMode.OPEN:
            return StoreFailure(demand, NO_STORE)
    return None
