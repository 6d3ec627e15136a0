"""Which counters a call must pass: the rate limits and quotas of its route, for its caller."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from ipaddress import AddressValueError, IPv6Address
from struct import unpack
from typing import Final

from tidegate_dataplane.engine.authorize import Subject
from tidegate_dataplane.expressions import EvaluationError
from tidegate_dataplane.ledger.demand import Demand, Demands, Terms
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.lower import SEPARATOR
from tidegate_dataplane.runtime.objects import Bucket, Consumer, Plan, Quota, QuotaLimit, Route
from tidegate_dataplane.snapshot.entries import Accuracy, QuotaScope, RateLimitScope

# Plans are remembered by (route, consumer, team, tier); of too many all are forgotten, and worked out again.
MAX_PLANS: Final = 16_384
# What a key expression that fails counts as: one counter for all of them.
NO_VALUE: Final = "(error)"
_DIGEST_BYTES: Final = 16


def demands(runtime: Runtime, subject: Subject, subscribed: Plan | None = None) -> tuple[Demand, ...]:
    """Enforced and shadow demands of a call, those of Shadow policies marked as such; `subscribed` adds its own.

    Those that are counted here stand before those that are counted together. Limits of single backends are not among
    them (see `backend_demands`).
    """
    route, consumer, now = subject.route, subject.consumer, subject.now
    plans = runtime.plans
    entry = consumer.entry
    # Team and tier decide which quotas concern it, and a token may say others than the last one of this consumer.
    name = SEPARATOR.join((route.key, consumer.key, entry.team, entry.tier))
    if subscribed is not None:
        name += SEPARATOR + subscribed.name
    plan = plans.get(name)
    # Whoever asks why may ask of another time, and that plan is not for the calls of now.
    if plan is None or not plan.since <= now < plan.until:
        if len(plans) >= MAX_PLANS:
            plans.clear()
        plan = plans[name] = _plan(route, consumer, now, subscribed)
    if not (route.per_call or route.guard.by_call or (route.shadow is not None and route.shadow.by_call)):
        return plan.demands
    return _ordered((*plan.demands, *_by_call(subject)))


def backend_demands(route: Route, consumer: Consumer, backend: str, now: float) -> tuple[Demand, ...]:
    """What a call must pass besides where it goes to this backend."""
    return _ordered(
        _quota_demand(limit, backend, consumer, now)
        for quota in route.per_backend
        if _concerns(quota, consumer)
        for limit in quota.limits
    )


def cost_limits(route: Route, consumer: Consumer) -> tuple[QuotaLimit, ...]:
    """The limits that count what a call of this consumer costs, wherever it goes."""
    if not route.priced:
        return ()
    quotas = (*route.quotas, *route.per_call, *route.per_backend)
    return tuple(limit for quota in quotas if _concerns(quota, consumer) for limit in quota.limits if limit.priced)


def _plan(route: Route, consumer: Consumer, now: float, subscribed: Plan | None) -> Demands:
    quotas = [quota for quota in route.quotas if _concerns(quota, consumer)]
    limits = [(limit, _quota_scope(quota, route, consumer)) for quota in quotas for limit in quota.limits]
    own = () if subscribed is None or subscribed.bucket is None else (subscribed.bucket,)
    found = (
        *(_bucket_demand(bucket, _bucket_scope(bucket, route, consumer)) for bucket in (*own, *_buckets(route))),
        *(_quota_demand(limit, scope, consumer, now) for limit, scope in limits),
    )
    turns = [moment for limit, _ in limits for extra in limit.extras for moment in (extra.begins, extra.ends)]
    since = max((moment for moment in turns if moment <= now), default=float("-inf"))
    return Demands(_ordered(found), since, min((moment for moment in turns if moment > now), default=float("inf")))


def _ordered(found: Iterable[Demand]) -> tuple[Demand, ...]:
    return tuple(sorted(found, key=lambda demand: demand.terms.accuracy is not Accuracy.LOCAL))


def _buckets(route: Route) -> Iterator[Bucket]:
    for guard in (route.guard, route.shadow):
        if guard is not None:
            yield from (bucket for bucket in guard.buckets if bucket not in guard.by_call)


def _by_call(subject: Subject) -> Iterator[Demand]:
    route, call = subject.route, subject.call
    for guard in (route.guard, route.shadow):
        for bucket in () if guard is None else guard.by_call:
            by_address = bucket.per is RateLimitScope.ADDRESS
            yield _bucket_demand(bucket, address_scope(call.address) if by_address else call.model)
    for quota in route.per_call:
        if _concerns(quota, subject.consumer):
            scope = _call_scope(quota, subject)
            for limit in quota.limits:
                yield _quota_demand(limit, scope, subject.consumer, subject.now)


def _call_scope(quota: Quota, subject: Subject) -> str:
    if quota.per is QuotaScope.ADDRESS:
        return address_scope(subject.call.address)
    if quota.program is None:
        return subject.call.model
    try:
        return quota.program.evaluate(subject.variables)
    except EvaluationError:
        return NO_VALUE


def _bucket_scope(bucket: Bucket, route: Route, consumer: Consumer) -> str:
    match bucket.per:
        case RateLimitScope.CONSUMER:
            return consumer.key  # all anonymous callers share one bucket; per Address tells them apart
        case RateLimitScope.TEAM:
            return _team(consumer)
        case RateLimitScope.NAMESPACE:
            return consumer.namespace
        case RateLimitScope.ROUTE:
            return route.key
    return ""


def _bucket_demand(bucket: Bucket, scope: str) -> Demand:
    return demand_of(bucket.terms, bucket.burst, scope, obeyed=not bucket.shadow)


def _concerns(quota: Quota, consumer: Consumer) -> bool:
    return (not quota.tiers or consumer.tier in quota.tiers) and (not quota.teams or consumer.team in quota.teams)


def _team(consumer: Consumer) -> str:
    return f"{consumer.namespace}/{consumer.team}"  # a namespace is a tenant: teams of one name are two


def _quota_scope(quota: Quota, route: Route, consumer: Consumer) -> str:
    match quota.per:
        case QuotaScope.CONSUMER:
            return consumer.key
        case QuotaScope.TEAM:
            return _team(consumer)
        case QuotaScope.NAMESPACE:
            return consumer.namespace
        case QuotaScope.ROUTE:
            return route.key
    return ""


def _quota_demand(limit: QuotaLimit, scope: str, consumer: Consumer, now: float) -> Demand:
    amount = limit.tier_amounts.get(consumer.tier, limit.amount)
    for extra in limit.extras:
        if extra.begins <= now < extra.ends and extra.scope in ("", scope):
            amount += extra.amount
    return demand_of(limit.terms, amount, scope, obeyed=limit.blocks)


def demand_of(terms: Terms, amount: int, scope: str, *, obeyed: bool) -> Demand:
    """The counter of a limit for one value of its scope."""
    key = terms.key + scope
    if terms.accuracy is Accuracy.LOCAL:
        return Demand(key, terms, amount, scope, obeyed)
    low, high = unpack("=qq", blake2b(key.encode(), digest_size=_DIGEST_BYTES).digest())
    return Demand(key, terms, amount, scope, obeyed, low, high)


@lru_cache(maxsize=4096)
def address_scope(address: str) -> str:
    """One caller's address: of IPv6 the /64, for a single host has all of it (RFC 6177, RFC 8981)."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except AddressValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
