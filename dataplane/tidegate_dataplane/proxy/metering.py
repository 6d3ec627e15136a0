"""What the ledger hears of a stream, piece by piece: so that what was delivered stays charged should the process be
killed, and a limit that runs out can end the stream."""

from time import perf_counter, time

from tidegate_dataplane.ledger.demand import Amounts, Demand, Measure, amounts_of
from tidegate_dataplane.ledger.ledger import Ledger, Reservation
from tidegate_dataplane.pricing.price import Price, cost
from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.proxy.meter import MidStreamStop
from tidegate_dataplane.proxy.reserving import Held
from tidegate_dataplane.snapshot.entries import MidStream

# By how much a reservation grows at least when a stream outruns it: tokens.
_LEAST_MORE = 256


class CallMeter:
    """Of one call. `price` is that of the target that answers, None where no limit counts cost. With `bounded`, the
    caller has set a limit that the provider keeps, and all of that is reserved: it is never too little.

    Pieces are counted in a cheap way, which may err upwards. What is noted never goes beyond the reservation, so that
    an error never takes from others what this call does not use; the settlement corrects it.
    """

    __slots__ = ("_asks", "_held", "_input", "_ledger", "_noted", "_output", "_parts", "_price")

    def __init__(self, ledger: Ledger, held: Held, backend: str, price: Price | None, *, bounded: bool) -> None:
        self._ledger = ledger
        self._held = held
        leg = held.backends.get(backend)
        self._parts: tuple[Reservation, ...] = (held.call,) if leg is None else (held.call, leg)
        self._price = price
        self._input = 0
        self._output = 0
        self._asks = not bounded and any(_ends(demand) for part in self._parts for demand in part.demands)
        self._noted = ledger.durable and any(part.holdings for part in self._parts)

    def begin(self, prompt_tokens: int) -> None:
        self._input = prompt_tokens
        if self._noted:
            self._note()

    def deliver(self, tokens: int) -> bool:
        self._output += tokens
        if self._noted:
            self._note()
        return not self._asks or self._output <= self._reserved

    async def extend(self) -> MidStreamStop | None:
        amounts = self._amounts(self._output + max(_LEAST_MORE, self._output // 4))
        for part in self._parts:
            refused = await self._ledger.extend(part, amounts, time())
            if refused is not None:
                message = f"{refused.demand} ran out in the middle of the answer. What came so far is not complete."
                return MidStreamStop("quota_exceeded", message)
        return None

    @property
    def _reserved(self) -> int:
        return self._held.call.amounts[Measure.OUTPUT_TOKENS]

    def _note(self) -> None:
        amounts = self._amounts(min(self._output, self._reserved))
        for part in self._parts:
            self._ledger.deliver(part, amounts)

    def _amounts(self, output: int) -> Amounts:
        price = self._price
        spent = 0 if price is None else cost(price, Usage(self._input, output))
        milliseconds = int((perf_counter() - self._held.since) * 1000)
        return amounts_of(self._input, output, cost=spent, milliseconds=milliseconds)


def _ends(demand: Demand) -> bool:
    """Whether a limit that runs out ends a stream; others let it finish, and count."""
    return demand.obeyed and demand.terms.mid_stream is MidStream.END
