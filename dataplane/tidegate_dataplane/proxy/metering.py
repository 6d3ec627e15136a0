"""What the ledger hears before it goes to the caller: so that what was delivered stays charged should the process be
killed, and a limit that runs out can end a stream."""

from collections.abc import Callable
from time import perf_counter, time

from tidegate_dataplane.ledger.demand import Amounts, Demand, Measure, amounts_of
from tidegate_dataplane.ledger.ledger import Ledger, Reservation
from tidegate_dataplane.pricing.price import Price, cost
from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.proxy.charging import asked_service
from tidegate_dataplane.proxy.exchange import Exchange
from tidegate_dataplane.proxy.meter import MidStreamStop
from tidegate_dataplane.proxy.reserving import Held
from tidegate_dataplane.snapshot.entries import MidStream

# By how much a reservation grows at least when a stream outruns it: tokens.
_LEAST_MORE = 256
# And by how much of compute time: not for each piece anew.
_LEAST_MORE_MS = 1_000
# An expression may look at the time.
_TIMED = frozenset({Measure.COMPUTE, Measure.EXPRESSION})


class CallMeter:
    """Of one call that a target answers. `settle` charges it, once its tokens are known.

    Pieces are counted in a cheap way, which may err upwards. What is noted never goes beyond the reservation, so that
    an error never takes from others what this call does not use; the settlement corrects it.
    """

    __slots__ = (
        "_asks",
        "_bounded",
        "_exchange",
        "_held",
        "_input",
        "_ledger",
        "_noted",
        "_output",
        "_parts",
        "_price",
        "_settle",
        "_timed",
    )

    def __init__(self, ledger: Ledger, exchange: Exchange, held: Held, settle: Callable[[], None]) -> None:
        self._ledger = ledger
        self._exchange = exchange
        self._held = held
        self._settle = settle

    def whole(self) -> None:
        self._settle()

    def begin(self, prompt_tokens: int) -> None:
        exchange, held, ledger = self._exchange, self._held, self._ledger
        leg = None if exchange.target is None else held.backends.get(exchange.target.backend.key)
        self._parts: tuple[Reservation, ...] = (held.call,) if leg is None else (held.call, leg)
        self._price = _price(exchange, held)
        self._input = prompt_tokens
        self._output = 0
        ends = [demand for part in self._parts for demand in part.demands if _ends(demand)]
        self._asks = bool(ends)
        self._timed = any(demand.measure in _TIMED for demand in ends)
        # The caller has set a limit, and all of that is reserved: too little only when the provider does not heed it.
        self._bounded = exchange.prompt is not None and exchange.prompt.max_output is not None
        self._noted = ledger.durable and any(part.holdings for part in self._parts)
        if self._noted:
            self._note()

    def deliver(self, tokens: int) -> bool:
        self._output += tokens
        if self._noted:
            self._note()
        return not self._asks or self._is_enough()

    async def extend(self) -> MidStreamStop | None:
        output = self._output + max(_LEAST_MORE, self._output // 4)
        amounts = self._amounts(max(output, self._reserved), ahead=True)
        for part in self._parts:
            refused = await self._ledger.extend(part, amounts, time())
            if refused is not None:
                message = f"{refused.demand} ran out in the middle of the answer. What came so far is not complete."
                return MidStreamStop("quota_exceeded", message)
        return None

    @property
    def _reserved(self) -> int:
        return self._held.call.amounts[Measure.OUTPUT_TOKENS]

    def _is_enough(self) -> bool:
        # A cheap count may err by half, and must not end what keeps to the caller's own limit.
        most = 2 * self._reserved + _LEAST_MORE if self._bounded else self._reserved
        if self._output > most:
            return False
        return not self._timed or self._milliseconds() <= self._held.call.amounts[Measure.COMPUTE]

    def _note(self) -> None:
        amounts = self._amounts(min(self._output, self._reserved))
        for part in self._parts:
            self._ledger.deliver(part, amounts)

    def _milliseconds(self) -> int:
        return int((perf_counter() - self._held.since) * 1000)

    def _amounts(self, output: int, *, ahead: bool = False) -> Amounts:
        price = self._price
        spent = 0 if price is None else cost(price, Usage(self._input, output))
        milliseconds = self._milliseconds()
        if ahead and self._timed:
            milliseconds += max(_LEAST_MORE_MS, milliseconds // 4)
        return amounts_of(self._input, output, cost=spent, milliseconds=milliseconds)


def _price(exchange: Exchange, held: Held) -> Price | None:
    """Of the target that answers; None where no limit counts cost."""
    target, prompt = exchange.target, exchange.prompt
    if target is None or not held.priced:
        return None
    price = exchange.prices.of(target.backend, target.model or ("" if prompt is None else prompt.model))
    price = price or held.default
    return price if price is None or not price.services else price.in_service(asked_service(prompt))


def _ends(demand: Demand) -> bool:
    """Whether a limit that runs out ends a stream; others let it finish, and count."""
    return demand.obeyed and demand.terms.mid_stream is MidStream.END
