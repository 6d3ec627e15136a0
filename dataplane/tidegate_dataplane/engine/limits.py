"""The limits that count a call, as people and programs read them. Pure."""

from typing import Final

from msgspec import Struct

from tidegate_dataplane.engine.admit import backend_demands
from tidegate_dataplane.engine.decision import Decision
from tidegate_dataplane.engine.denials import shown
from tidegate_dataplane.ledger.demand import Demand, Window
from tidegate_dataplane.runtime.objects import Route
from tidegate_dataplane.snapshot.entries import Accuracy, FailureMode, MidStream, OnExceed, Unit
from tidegate_dataplane.snapshot.limit_label import length_label

_BEYOND: Final = {
    OnExceed.ALERT: "only alerts",
    OnExceed.FALLBACK: "then the fallback targets",
}


class Limit(Struct, frozen=True, rename="camel"):
    """A rate limit or quota that the call must pass.

    `amount` is what holds in this cluster, for this caller, at this time: after share, tier and grants; micro-dollars
    of Cost, milliseconds of ComputeSeconds. `per_second` is of rate limits, `window` ("" for Concurrent) and
    `on_exceed` of quotas, `failure_mode` of those that are counted in the shared store. `scope` says whose counter it
    is. `field` is where a quota says it, such as `spec.limits[1]`; "" of rate limits, which have names.
    `overage_price` is in micro-dollars for a million units (Charge), `safe_share` the percent of the amount that may be
    used while the store cannot be reached (Local), `mid_stream` what becomes of a stream that the limit runs out on,
    `alert_at` the percents at which somebody is told.
    """

    object: str
    name: str
    unit: str
    amount: int
    per_second: float
    window: str
    obeyed: bool
    scope: str
    accuracy: str
    failure_mode: str
    on_exceed: str
    queue_seconds: float
    field: str
    overage_price: int = 0
    safe_share: int = 100
    mid_stream: str = ""
    alert_at: tuple[int, ...] = ()

    def __str__(self) -> str:
        """E.g. `Quota team-a/money Cost of team-a/search: $50 per Month in Europe/Berlin [Leased; Closed without the
        store]`."""
        whose = f" of {self.scope}" if self.scope else ""
        remarks = "; ".join(self._remarks())
        return f"{self.object} {self.name}{whose}: {self._amount()}{f' [{remarks}]' if remarks else ''}"

    def _amount(self) -> str:
        if self.per_second:
            return f"bursts of {self.amount}, then {self.per_second:g} a second"
        amount = shown(Unit(self.unit), self.amount)
        return f"{amount} {self.window}" if self.window else f"{amount} at once"

    def _remarks(self) -> list[str]:
        remarks = []
        if self.accuracy != Accuracy.LOCAL:
            remarks += [self.accuracy, f"{self.failure_mode} without the store{self._safe()}"]
        if self.on_exceed == OnExceed.QUEUE:
            remarks.append(f"then waits up to {self.queue_seconds:g} s")
        elif self.on_exceed == OnExceed.CHARGE:
            remarks.append(f"what is beyond is charged, {shown(Unit.COST, self.overage_price)} a million")
        elif self.on_exceed in _BEYOND:
            remarks.append(_BEYOND[OnExceed(self.on_exceed)])
        if self.mid_stream == MidStream.END:
            remarks.append("ends a stream that uses it up")
        if self.alert_at:
            remarks.append(f"told at {', '.join(map(str, self.alert_at))} %")
        return remarks if self.obeyed else [*remarks, "counted, never refuses"]

    def _safe(self) -> str:
        bounded = self.failure_mode == FailureMode.LOCAL and self.safe_share < 100
        return f" for {self.safe_share} % of it" if bounded else ""


def limits_of(decision: Decision, now: float) -> tuple[Limit, ...]:
    """Those of the call itself, and those of each backend that it may go to."""
    fields = _fields(decision.route) if decision.route is not None else {}
    found = (*decision.demands, *_of_backends(decision, now))
    return tuple(_limit(demand, fields.get(id(demand.terms), "")) for demand in found)


def _fields(route: Route) -> dict[int, str]:
    """Where quotas say their limits, by the identity of their terms: two limits of a quota may have all else alike."""
    quotas = (*route.quotas, *route.per_call, *route.per_backend)
    return {id(limit.terms): f"spec.limits[{at}]" for quota in quotas for at, limit in enumerate(quota.limits)}


def _limit(demand: Demand, field: str) -> Limit:
    terms = demand.terms
    shared = terms.accuracy is not Accuracy.LOCAL
    return Limit(
        object=f"{terms.kind} {terms.object}",
        name=terms.name,
        unit=terms.unit,
        amount=demand.amount,
        per_second=terms.rate,
        window=_words(terms.window) if terms.window else "",
        obeyed=demand.obeyed,
        scope=demand.scope,
        accuracy=terms.accuracy,
        failure_mode=terms.failure if shared else "",
        on_exceed="" if terms.rate else terms.on_exceed,
        queue_seconds=terms.queue,
        field=field,
        overage_price=terms.overage_price,
        safe_share=terms.safe_share,
        mid_stream="" if terms.rate else terms.mid_stream,
        alert_at=() if terms.alert is None else terms.alert.percents,
    )


def _of_backends(decision: Decision, now: float) -> list[Demand]:
    route, consumer = decision.route, decision.consumer
    if route is None or consumer is None or not route.per_backend:
        return []
    tiers = route.tiers if decision.tiers is None else decision.tiers
    backends = {order[0].backend.key for tier in tiers for order in tier.orders}
    return [demand for key in sorted(backends) for demand in backend_demands(route, consumer, key, now)]


def _words(window: Window) -> str:
    if window.calendar is not None:
        return f"per {window.calendar.value} in {window.time_zone}"
    return f"in {length_label(round(window.sliding_seconds * 1000))}"
