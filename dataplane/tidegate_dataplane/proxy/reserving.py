"""What a call holds before it goes upstream: its part of every limit, and the targets that it may go to.

Limits of single backends take a target out of the choice when they are used up. A limit that falls back sends the call
to the route's fallback targets; one that queues lets it wait for its turn.
"""

from collections.abc import Sequence
from functools import partial
from random import random
from time import perf_counter, time

from msgspec import Struct
from msgspec.structs import replace

from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.admit import backend_demands, cost_limits, demand_of
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decision import Decision, Denial
from tidegate_dataplane.engine.targets import attempts, fallbacks
from tidegate_dataplane.ledger.cardinality import Cardinality
from tidegate_dataplane.ledger.demand import Amounts, Demand, Excess, StoreFailure, amounts_of
from tidegate_dataplane.ledger.learnt import Learnt
from tidegate_dataplane.ledger.ledger import Found, Ledger, Reservation
from tidegate_dataplane.pressure.waiting import QuotaLines
from tidegate_dataplane.pricing.lookup import Prices
from tidegate_dataplane.pricing.price import Price, bound
from tidegate_dataplane.proxy.charging import asked_service
from tidegate_dataplane.proxy.exchange import Exchange
from tidegate_dataplane.runtime import Route, Runtime, Target
from tidegate_dataplane.runtime.objects import Consumer, QuotaLimit
from tidegate_dataplane.snapshot.entries import OnExceed, Operation, Unit

# A call runs for at least so long, as far as limits of compute time know beforehand.
_LEAST_MS = 1_000


class Held(Struct, gc=False):
    """What is held: for the call, and for each backend that it may go to. `fallback` names the limit that sent it to
    the fallback targets, "" for none; `default` is the price where none is known."""

    call: Reservation
    backends: dict[str, Reservation]
    order: tuple[Target, ...]
    since: float
    fallback: str = ""
    default: Price | None = None
    priced: bool = False
    degraded: bool = False
    settled: bool = False

    @property
    def reservations(self) -> Sequence[Reservation]:
        return (self.call, *self.backends.values())

    @property
    def limited(self) -> bool:
        """Whether any limit counts it."""
        return bool(self.backends or self.call.holdings or self.call.taken.demands)


class Refused(Struct, frozen=True, gc=False):
    """Why nothing is held."""

    denial: Denial
    excess: Excess | None = None


class Reserver:
    """Holds what calls need, in the ledger."""

    def __init__(self, ledger: Ledger, lines: QuotaLines) -> None:
        self._ledger = ledger
        self._lines = lines
        self._values = Cardinality()
        self._learnt = Learnt()

    def follow(self, runtime: Runtime) -> None:
        """Forget the values of limits that are gone."""
        quotas = (limit.terms for quota in runtime.quotas.values() for limit in quota.limits)
        buckets = (bucket.terms for policy in runtime.policies.values() for bucket in policy.buckets)
        self._values.keep(frozenset(terms.key for terms in (*quotas, *buckets) if terms.most_values))

    async def reserve(self, exchange: Exchange, runtime: Runtime, call: Call, decision: Decision) -> Held | Refused:
        """All that the call needs, or nothing."""
        route, consumer = decision.route, decision.consumer
        if route is None or consumer is None:
            raise RuntimeError("a call was let in without a route")
        order = attempts(route, random(), decision.tiers)  # noqa: S311 - spreads load, protects nothing
        found = await self._hold(exchange, runtime.prices, call, route, consumer, decision.demands, order)
        if not isinstance(found, Refused) or found.excess is None:
            return found
        if found.excess.demand.terms.on_exceed is OnExceed.FALLBACK and route.fallbacks:
            return await self._fall_back(exchange, runtime, call, decision, route, consumer, found)
        return found

    async def _fall_back(
        self,
        exchange: Exchange,
        runtime: Runtime,
        call: Call,
        decision: Decision,
        route: Route,
        consumer: Consumer,
        refused: Refused,
    ) -> Held | Refused:
        """Limits that fall back count, but refuse nothing there."""
        order = fallbacks(runtime, decision, call, exchange.arrived, random())  # noqa: S311 - as above
        if not order or refused.excess is None:
            return refused
        demands = tuple(
            replace(demand, obeyed=False) if demand.terms.on_exceed is OnExceed.FALLBACK else demand
            for demand in decision.demands
        )
        found = await self._hold(exchange, runtime.prices, call, route, consumer, demands, order)
        if isinstance(found, Held):
            found.fallback = str(refused.excess.demand)
        return found

    async def _hold(
        self,
        exchange: Exchange,
        prices: Prices,
        call: Call,
        route: Route,
        consumer: Consumer,
        demands: tuple[Demand, ...],
        order: tuple[Target, ...],
    ) -> Held | Refused:
        output = self._output(exchange, call, route)
        counting = cost_limits(route, consumer)
        cost, default = _cost(exchange, prices, call, counting, order, output) if counting else (0, None)
        if cost is None:
            return Refused(denials.price_unknown(route, call.model))
        amounts = amounts_of(call.prompt_tokens, output, cached=call.prompt_tokens, cost=cost, milliseconds=_LEAST_MS)
        if route.per_call or route.guard.by_call or (route.shadow is not None and route.shadow.by_call):
            demands = tuple(self._bounded(demand, exchange.arrived) for demand in demands)
        found = await self._take(exchange, exchange.id, demands, amounts, consumer)
        if isinstance(found, Refused):
            return found
        held = Held(found, {}, order, perf_counter(), default=default, priced=bool(counting))
        if route.per_backend:
            try:
                refused = await self._hold_backends(exchange, held, route, consumer, amounts)
            except BaseException:
                self._release(held)
                raise
            if refused is not None:
                self._release(held)
                return refused
        held.degraded = any(each.degraded for each in held.reservations)
        return held

    async def _hold_backends(
        self, exchange: Exchange, held: Held, route: Route, consumer: Consumer, amounts: Amounts
    ) -> Refused | None:
        """Only targets whose backend has something left remain; why not, when none does."""
        refused: dict[str, Refused] = {}
        for target in held.order:
            key = target.backend.key
            if key in refused or key in held.backends:
                continue
            demands = backend_demands(route, consumer, key, exchange.arrived)
            found = await self._take(exchange, f"{exchange.id}/{key}", demands, amounts, consumer)
            if isinstance(found, Refused):
                refused[key] = found
            else:
                held.backends[key] = found
        held.order = tuple(target for target in held.order if target.backend.key in held.backends)
        return None if held.order else next(iter(refused.values()))

    async def _take(
        self, exchange: Exchange, request_id: str, demands: tuple[Demand, ...], amounts: Amounts, consumer: Consumer
    ) -> Reservation | Refused:
        ledger = self._ledger
        at_once = ledger.reserve(request_id, demands, amounts, exchange.arrived)
        found = at_once or await ledger.acquire(request_id, demands, amounts, exchange.arrived)
        if isinstance(found, Excess) and found.demand.terms.on_exceed is OnExceed.QUEUE:
            found = await self._lines.reserve(
                partial(self._retry, request_id, demands, amounts),
                found,
                priority=consumer.entry.priority,
                consumer=consumer.key or exchange.address,
                longest=found.demand.terms.queue,
            )
        if isinstance(found, Excess):
            return Refused(denials.limit_exceeded(found), found)
        if isinstance(found, StoreFailure):
            return Refused(denials.quota_unavailable(found))
        return found

    def _release(self, held: Held) -> None:
        for reservation in held.reservations:
            self._ledger.release(reservation)
            self.give_back(reservation)

    def _output(self, exchange: Exchange, call: Call, route: Route) -> int:
        """Tokens to reserve for the answer: what the caller allows, else what such calls usually come to."""
        prompt = exchange.prompt
        if prompt is None or prompt.max_output is not None:
            return call.max_output_tokens
        return self._learnt.reserve(_kind_of_call(route, call.model), call.operation) * prompt.choices

    def learn(self, exchange: Exchange, output: int) -> None:
        """A call that set no limit ended in good order, with so many tokens."""
        prompt, decision, operation = exchange.prompt, exchange.decision, exchange.operation
        if prompt is None or prompt.max_output is not None or decision is None or operation is None:
            return
        if decision.route is not None:
            self._learnt.learn(_kind_of_call(decision.route, prompt.model), operation, -(-output // prompt.choices))

    def _bounded(self, demand: Demand, now: float) -> Demand:
        """Of values that callers choose, only so many have counters of their own."""
        terms = demand.terms
        if not terms.most_values:
            return demand
        scope = self._values.scope(terms, demand.scope, now, burst=demand.amount)
        return demand if scope == demand.scope else demand_of(terms, demand.amount, scope, obeyed=demand.obeyed)

    async def _retry(self, request_id: str, demands: tuple[Demand, ...], amounts: Amounts) -> Found:
        return await self._ledger.acquire(request_id, demands, amounts, time())

    def give_back(self, reservation: Reservation) -> None:
        """Tell who waits that something of these counters was given back."""
        if self._lines.waiting:
            for demand in reservation.demands:
                self._lines.notify(demand.key)


def _kind_of_call(route: Route, model: str) -> str:
    return f"{route.key}/{model}"


def _cost(
    exchange: Exchange, prices: Prices, call: Call, limits: Sequence[QuotaLimit], order: Sequence[Target], output: int
) -> tuple[int | None, Price | None]:
    """Micro-dollars that the call costs at most, wherever it goes; None when nobody can say and a limit insists."""
    default, service = _default_price(limits), asked_service(exchange.prompt)
    most = 0
    for target in order:
        price = prices.of(target.backend, target.model or call.model) or default
        if price is None:
            return None, None
        images = call.images if call.operation is Operation.IMAGE else 0
        most = max(most, bound(price.in_service(service), call.prompt_tokens, output, images))
        if service and price.services:  # a provider may answer in its standard tier instead
            most = max(most, bound(price, call.prompt_tokens, output, images))
    return most, default


def _default_price(limits: Sequence[QuotaLimit]) -> Price | None:
    """The dearest of the defaults, if every limit of cost has one; an expression over cost has none of its own."""
    costs = [limit for limit in limits if limit.terms.unit is Unit.COST]
    defaults = [limit.default_price for limit in costs if limit.default_price is not None]
    if len(defaults) < len(costs):
        return None
    return max(defaults, key=lambda price: price.rates.output, default=None)
