"""What the ledger hears of a stream, piece by piece: so that what was delivered stays charged should the process be
killed, and a limit that runs out can end the stream."""

from time import perf_counter, time

from tidegate_dataplane.ledger.demand import Amounts, Measure, amounts_of
from tidegate_dataplane.ledger.ledger import Ledger, Reservation
from tidegate_dataplane.pricing.price import Price, cost
from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.proxy.meter import MidStreamStop
from tidegate_dataplane.proxy.reserving import Held

# By how much a reservation grows at least when a stream outruns it: tokens.
_LEAST_MORE = 256


class CallMeter:
    """Of one call. `price` is that of the target that answers, None where no limit counts cost."""

    __slots__ = ("_enough", "_held", "_input", "_ledger", "_noted", "_output", "_parts", "_price")

    def __init__(self, ledger: Ledger, held: Held, backend: str, price: Price | None) -> None:
        self._ledger = ledger
        self._held = held
        leg = held.backends.get(backend)
        self._parts: tuple[Reservation, ...] = (held.call,) if leg is None else (held.call, leg)
        self._price = price
        self._input = 0
        self._output = 0
        self._enough = held.call.amounts[Measure.TOKENS]
        self._noted = ledger.durable and any(part.holdings for part in self._parts)

    def begin(self, prompt_tokens: int) -> None:
        self._input = prompt_tokens
        if self._noted:
            self._note()

    def deliver(self, tokens: int) -> bool:
        self._output += tokens
        if self._noted:
            self._note()
        return self._input + self._output <= self._enough

    async def extend(self) -> MidStreamStop | None:
        amounts = self._amounts(self._output + max(_LEAST_MORE, self._output // 4))
        for part in self._parts:
            refused = await self._ledger.extend(part, amounts, time())
            if refused is not None:
                message = f"{refused.demand} ran out in the middle of the answer. What came so far is not complete."
                return MidStreamStop("quota_exceeded", message)
        self._enough = amounts[Measure.TOKENS]
        return None

    def _note(self) -> None:
        amounts = self._amounts(self._output)
        for part in self._parts:
            self._ledger.deliver(part, amounts)

    def _amounts(self, output: int) -> Amounts:
        price = self._price
        spent = 0 if price is None else cost(price, Usage(self._input, output))
        milliseconds = int((perf_counter() - self._held.since) * 1000)
        return amounts_of(self._input, output, cost=spent, milliseconds=milliseconds)
