"""What a call holds of shared counters, and what it asks the store for."""

from msgspec import Struct

from tidegate_dataplane.ledger.demand import Demand, Excess
from tidegate_dataplane.ledger.places import Place
from tidegate_dataplane.store.protocol import Status


class Holding(Struct, eq=False, gc=False):
    """What a call holds of one counter: `amount` is reserved, of which `delivered` is used already; `unchecked` when
    the store could not be asked. `at` is where its row begins in the journal, 0 for a bucket. `before` was used in
    windows that were over when the call was given more."""

    demand: Demand
    at: int
    slot: int
    amount: int
    before: int = 0
    delivered: int = 0
    unchecked: bool = False


class Wanted:
    """So much more of a counter; the holding has what was spare already. `insists`: the limit must hold, else what goes
    over is only counted."""

    __slots__ = ("holding", "insists", "need", "place")

    def __init__(self, holding: Holding, place: Place, need: int, *, insists: bool = True) -> None:
        self.insists = insists and holding.demand.obeyed
        self.holding = holding
        self.place = place
        self.need = need


# None: granted. A status: worth asking again, or not to be had while the store is rebuilt.
Outcome = Excess | Status | None
