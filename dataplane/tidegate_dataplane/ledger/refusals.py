"""What the shared store refused a moment ago: a flood of calls beyond a limit asks it a few times a second, not each
time."""

from collections.abc import Sequence
from time import monotonic
from typing import Final

from tidegate_dataplane.ledger.demand import Amounts, Demand, Excess

# So long nobody asks again; what others give back meanwhile comes to light that much later.
REMEMBERED_SECONDS: Final = 0.02
_MOST: Final = 4_096


class Refusals:
    """By counter: until when (seconds of the monotonic clock), and what was refused."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[float, Excess]] = {}

    def note(self, excess: Excess) -> None:
        """The store has just refused this."""
        if len(self._known) >= _MOST:
            self._known.clear()
        demand = excess.demand
        until = monotonic() + min(REMEMBERED_SECONDS, excess.retry_after)
        self._known[demand.low, demand.high] = (until, excess)

    def of(self, demands: Sequence[Demand], amounts: Amounts) -> Excess | None:
        """The refusal of a call that asks for as much as one that was refused just now, or for more."""
        if not self._known:
            return None
        for demand in demands:
            if (demand.low, demand.high) in self._known:
                found = self.of_one(demand, demand.terms.measured(amounts))
                if found is not None:
                    return found
        return None

    def of_one(self, demand: Demand, asked: int) -> Excess | None:
        """The same for one counter."""
        known = self._known.get((demand.low, demand.high))
        if known is None:
            return None
        until, excess = known
        if until <= monotonic():
            del self._known[demand.low, demand.high]
            return None
        if not demand.obeyed or demand.amount != excess.demand.amount or asked < excess.asked:
            return None
        return Excess(demand, excess.used, excess.limit, asked, excess.reset_at, excess.retry_after)

    def forget(self, demand: Demand) -> None:
        """Something of the counter was given back here."""
        if self._known:
            self._known.pop((demand.low, demand.high), None)
